// containerd_pull ADDRESS REFERENCE PLATFORM: pulls an image with containerd's Go library and the erofs snapshotter. The library fetches
// one manifest, while containerd's transfer service, which ctr and Kubernetes call, fetches all that match.
package main

import (
	"context"
	"log"
	"os"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	"github.com/containerd/containerd/v2/pkg/namespaces"
)

func main() {
	client, err := containerd.New(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	hosts := docker.ConfigureDefaultRegistries(docker.WithPlainHTTP(docker.MatchLocalhost))
	_, err = client.Pull(namespaces.WithNamespace(context.Background(), "default"), os.Args[2],
		containerd.WithResolver(docker.NewResolver(docker.ResolverOptions{Hosts: hosts})),
		containerd.WithPlatform(os.Args[3]), containerd.WithPullUnpack, containerd.WithPullSnapshotter("erofs"))
	if err != nil {
		log.Fatal(err)
	}
}
