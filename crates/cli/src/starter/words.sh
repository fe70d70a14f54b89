# Words of $IN_TEXT with their number, the most frequent first.
tr -cs '[:alpha:]' '\n' < "$IN_TEXT" | tr '[:upper:]' '[:lower:]' | sed '/^$/d' | sort | uniq -c |
    sort -k1,1nr -k2,2 > "$OUT_WORDS"
