# fish completion for qcow2blk: the command itself knows its words and devices
complete -c qcow2blk -a '(set -l line (commandline -cp); qcow2blk "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null | string match -rv "^(/[?h]|True|False)\$")'
