using System;

namespace Qcow2Blk.Crypto;

/// <summary>libcrypto refused what it must be able to do: no memory, or a policy of the host (FIPS) forbids it.</summary>
internal sealed class CryptoException(string message) : Exception(message);
