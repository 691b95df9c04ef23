# bash completion for qcow2blk: the command itself knows its words and devices
_qcow2blk()
{
    local IFS=$'\n' words
    words=$("${COMP_WORDS[0]}" "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)
    COMPREPLY=($(compgen -W "$words" -- "${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -o bashdefault -F _qcow2blk qcow2blk
