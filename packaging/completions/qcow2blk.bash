# bash completion for qcow2blk: the command itself knows its words and devices
_qcow2blk()
{
    local IFS=$'\n' words cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]}
    words=$("${COMP_WORDS[0]}" "[suggest:$COMP_POINT]" "$COMP_LINE" 2>/dev/null)
    # An option is completed by its dash; "True" and "False" are what the parser offers behind a flag.
    [[ $cur == -* ]] || words=$(grep -vxE -e '-.*' -e 'True|False|/[?h]' <<<"$words")
    case $verb:$COMP_CWORD:$cur in
        *:1:* | *:*:-*) ;;
        attach:* | check:* | create:* | info:* | map:*) [[ -n $words ]] || { _qcow2blk_files "$cur" "${COMP_WORDS[COMP_CWORD - 1]}"; return; } ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$cur"))
}

# Images and directories; other files where an option wants them.
_qcow2blk_files()
{
    compopt -o filenames 2>/dev/null
    case $2 in
        --socket | --pid-file | --backing) COMPREPLY=($(compgen -f -- "$1")) ;;
        --backing-dir) COMPREPLY=($(compgen -d -- "$1")) ;;
        *) COMPREPLY=($(shopt -s extglob; compgen -d -- "$1"; compgen -f -X '!*.@(qcow2|qcow2c|qcow|img|raw|bak|snap)' -- "$1")) ;;
    esac
}
complete -o bashdefault -F _qcow2blk qcow2blk
