# From apt's deb822 stanzas, the first that serves packages of the release `suite`, rewritten for suite-backports.
# Whatever else it says (mirror, key, architectures) is kept, a key written into the stanza included.
BEGIN { RS = ""; FS = "\n" }
{
    enabled = 1
    types = suites = kept = ""
    skipping = 0
    for (i = 1; i <= NF; i++) {
        if ($i ~ /^#/) continue
        if ($i ~ /^[ \t]/) {  # goes on from the line above
            if (!skipping) kept = kept "\n" $i
            continue
        }
        name = tolower($i)
        value = $i
        sub(/:.*/, "", name)
        sub(/^[^:]*:[ \t]*/, "", value)
        skipping = 1
        if (name == "types") types = " " value " "
        else if (name == "suites") suites = " " value " "
        else if (name == "enabled") enabled = tolower(value) !~ /^(no|false|off|0)/
        else if (name != "components") {
            skipping = 0
            kept = kept "\n" $i
        }
    }
    if (enabled && types ~ / deb / && suites ~ " " suite " ") {
        print "Types: deb\nSuites: " suite "-backports\nComponents: main" kept
        exit
    }
}
