# incremental.py URI BITMAP COPY: brings what the bitmap has into COPY, a raw file
import sys
import nbd

uri, bitmap, path = sys.argv[1:]
disk = nbd.NBD()
disk.add_meta_context("qemu:dirty-bitmap:" + bitmap)
disk.connect_uri(uri)
size, offset, piece = disk.get_size(), 0, 1 << 20
with open(path, "r+b") as copy:
    while offset < size:
        extents = []
        disk.block_status(min(size - offset, 1 << 30), offset, lambda name, at, found, error: extents.extend(found) or 0)
        for length, dirty in zip(extents[::2], extents[1::2]):
            for at in range(offset, offset + length, piece) if dirty else ():
                copy.seek(at)
                copy.write(disk.pread(min(piece, offset + length - at), at))
            offset += length
