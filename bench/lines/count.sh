#!/usr/bin/env bash
# Counts the lines of the same programs in several frameworks, as rustfmt has them: neither blank ones nor
# comments, nor what is generated. To tonic's belong its .proto and the build script.
set -euo pipefail
cd "$(dirname "$0")"
cargo fmt --check

# Lines of a file, or of the part of it before or from its main function.
lines() {
    case "${2:-all}" in
        all) cat "$1" ;;
        before) sed '/^#\[tokio::main\]/,$d' "$1" ;;
        from) sed -n '/^#\[tokio::main\]/,$p' "$1" ;;
    esac | grep -vcE '^[[:space:]]*(//.*)?$'
}

for program in store chat; do
    echo "| $program | service | main | schema and build | all | ÷ ours |"
    echo "| --- | ---: | ---: | ---: | ---: | ---: |"
    for framework in pointsub tonic tarpc irpc; do
        file=$program/$framework.rs
        service=$(lines "$file" before) main=$(lines "$file" from) schema=0
        if [ $framework = tonic ]; then
            schema=$(($(lines "proto/$program.proto") + $(lines build.rs)))
        fi
        all=$((service + main + schema))
        if [ $framework = pointsub ]; then ours=$all; fi
        ratio=$(awk "BEGIN { printf \"%.2f\", $all / $ours }")
        echo "| $framework | $service | $main | $schema | $all | $ratio |"
    done
    echo
done
