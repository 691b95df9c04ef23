using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Qcow2Blk.Tests.Abi;

/// <summary>A library of another project, with a runtime and a garbage collector of its own, in the same process as libqcow2blk.</summary>
internal static class Second
{
    /// <summary>Makes garbage and has it collected, so that its runtime stops its threads while the other one works.</summary>
    /// <returns>rounds</returns>
    [UnmanagedCallersOnly(EntryPoint = "second_work")]
    private static int Work(int rounds)
    {
        var done = 0;
        for (var i = 0; i < rounds; i++)
        {
            var garbage = new List<byte[]>();
            for (var size = 1; size < 64 * 1024; size *= 2)
                garbage.Add(new byte[size]);
            System.GC.Collect();
            done += garbage.Count == 16 ? 1 : 0;
        }

        return done;
    }
}
