using Tmds.Linux;
using static Tmds.Linux.LibC;

namespace Qcow2Blk.Interop;

/// <summary>termios.h: a terminal that gives each key as it is pressed.</summary>
internal static unsafe class Terminals
{
    internal static bool IsTerminal(int fd) => isatty(fd) == 1;

    /// <returns>0, or a negative errno</returns>
    internal static int Settings(int fd, out termios settings)
    {
        fixed (termios* result = &settings)
            return Errno.Of(tcgetattr(fd, result));
    }

    /// <returns>0, or a negative errno</returns>
    internal static int Set(int fd, termios settings) => Errno.Of(tcsetattr(fd, (int)TCSADRAIN, &settings));

    /// <summary>As cfmakeraw(3), but that lines that are printed still end as elsewhere.</summary>
    internal static termios Raw(termios settings)
    {
        settings.c_iflag &= ~(uint)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
        settings.c_lflag &= ~(uint)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
        settings.c_cc[VMIN] = 1;
        settings.c_cc[VTIME] = 0;
        return settings;
    }

    /// <returns>false if that is not a terminal, or it does not know</returns>
    internal static bool Size(int fd, out int columns, out int rows)
    {
        winsize size;
        var known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
        columns = known ? size.ws_col : 0;
        rows = known ? size.ws_row : 0;
        return known;
    }
}
