# Writes the C blocks of a Markdown or scdoc text to files: awk -v prefix=/tmp/x -f snippets.awk README.md
# SPDX-License-Identifier: Apache-2.0
#
# A block of C is one that Markdown marks with ```c, or one whose first line is an #include. Prints the files' names. In scdoc, a
# backslash is doubled.
function finish() {
    if (writing && code != "" && (marked || code ~ /^#include/) && code ~ /;\n/) {
        file = prefix (++count) ".c"
        # #line makes the compiler name the text itself
        printf "#line %d \"%s\"\n%s", first, FILENAME, code > file
        close(file)
        print file
    }
    writing = 0
}
BEGIN { scdoc = ARGV[1] ~ /\.scd$/ }
/^```/ {
    if (writing) {
        finish()
    } else {
        writing = 1
        marked = ($0 == "```c")
        code = ""
        first = NR + 1
    }
    next
}
writing {
    line = $0
    if (scdoc) gsub(/\\\\/, "\\", line)
    code = code line "\n"
}
