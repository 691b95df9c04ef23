using System;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Qcow2Blk.Devices;
using Qcow2Blk.Embedding;
using Qcow2Blk.Interop;

namespace Qcow2Blk.Abi;

/// <summary>qcow2blk_create, qcow2blk_check: image files that nobody has open.</summary>
internal static unsafe partial class Exports
{
    private const uint CreateReplace = 1;

    private const uint CheckRepairLeaks = 1;
    private const uint CheckRepairAll = 2;
    private const uint CheckIgnoreLocks = 4;

    private const int TellsProgress = 0;
    private const int TellsLeak = 1;
    private const int TellsError = 2;
    private const int TellsStop = 3;

    [UnmanagedCallersOnly(EntryPoint = "managed_create", CallConvs = [typeof(CallConvCdecl)])]
    private static int Create(byte* path, long size, nint options, uint flags)
    {
        if (path is null)
            return LastError.Missing();
        if ((flags & ~CreateReplace) != 0)
            return LastError.UnknownFlags();
        if (size < -1)
            return LastError.Set(-Errno.EINVAL, "the size is below -1"u8);
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        OpenSettings? settings = null;
        if (options != 0 && (settings = s_handles.Find<OpenSettings>(options)) is null)
            return LastError.NotAHandle();
        var name = Text.Of(path)!;
        try
        {
            NewImage.Create(name, size < 0 ? null : size, settings ?? new OpenSettings(), (flags & CreateReplace) != 0);
            return 0;
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot create {name}"));
        }
    }

    /// <summary>struct qcow2blk_check_result.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct CheckResult
    {
        public uint Size;
        public uint Reserved;
        public long CheckErrors;
        public long Corruptions;
        public long Leaks;
        public long CorruptionsFixed;
        public long LeaksFixed;
        public long ImageEndOffset;
        public long TotalClusters;
        public long AllocatedClusters;
        public long FragmentedClusters;
        public long CompressedClusters;
    }

    [UnmanagedCallersOnly(EntryPoint = "managed_check", CallConvs = [typeof(CallConvCdecl)])]
    private static int Check(
        byte* path, CheckResult* result, delegate* unmanaged[Cdecl]<void*, int, byte*, double, void> callback, void* userData, uint flags)
    {
        if (path is null)
            return LastError.Missing();
        if ((flags & ~(CheckRepairLeaks | CheckRepairAll | CheckIgnoreLocks)) != 0)
            return LastError.UnknownFlags();
        if (result is not null && result->Size < sizeof(CheckResult))
            return LastError.Set(-Errno.EINVAL, "size of the result is too small"u8);
        if (uint.PopCount(flags) > 1)
            return LastError.Set(-Errno.EINVAL, "of the flags of a check only one makes sense at a time"u8);
        if (HostCallback.IsRunning)
            return WouldWait(-Errno.EDEADLK);
        RepairKind? repair = (flags & CheckRepairLeaks) != 0 ? RepairKind.Leaks : (flags & CheckRepairAll) != 0 ? RepairKind.All : null;
        var name = Text.Of(path)!;
        try
        {
            var report = ImageChecking.Run(name, repair, (flags & CheckIgnoreLocks) != 0,
                callback is null ? null : (what, done) => Tell(TellsProgress, what, done));
            if (report.Verdict == CheckVerdict.NotSupported)
                return LastError.Set(-Errno.EOPNOTSUPP, $"cannot check {name}: {report.Stopped}");
            if (callback is not null)
                TellFindings(report, Tell);
            if (result is not null)
                Fill(result, report);
            return report.Verdict switch
            {
                CheckVerdict.Clean => 0,
                CheckVerdict.Corrupt => 2,
                CheckVerdict.Leaking => 3,
                _ => 1,
            };
        }
        catch (Exception error)
        {
            return LastError.Set(Failure.Of(error, $"cannot check {name}"));
        }

        void Tell(int kind, string message, double done)
        {
            var text = Marshal.StringToCoTaskMemUTF8(message);
            HostCallback.Enter();
            callback(userData, kind, (byte*)text, done);
            HostCallback.Leave();
            Marshal.FreeCoTaskMem(text);
        }
    }

    private static void TellFindings(CheckReport report, Action<int, string, double> tell)
    {
        foreach (var finding in report.Findings)
        {
            const string leak = "leak: ";
            var isLeak = finding.StartsWith(leak, StringComparison.Ordinal);
            tell(isLeak ? TellsLeak : TellsError, finding[(finding.IndexOf(": ", StringComparison.Ordinal) + 2)..], 0);
        }

        if (report.Stopped is { } why)
            tell(TellsStop, why, 0);
    }

    private static void Fill(CheckResult* result, CheckReport report) => *result = new CheckResult
    {
        Size = (uint)sizeof(CheckResult),
        CheckErrors = report.CheckErrors,
        Corruptions = report.Corruptions,
        Leaks = report.Leaks,
        CorruptionsFixed = report.CorruptionsFixed,
        LeaksFixed = report.LeaksFixed,
        ImageEndOffset = report.ImageEndOffset,
        TotalClusters = report.TotalClusters,
        AllocatedClusters = report.AllocatedClusters,
        FragmentedClusters = report.FragmentedClusters,
        CompressedClusters = report.CompressedClusters,
    };
}
