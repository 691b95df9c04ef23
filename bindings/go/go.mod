module qcow2blk

go 1.19
