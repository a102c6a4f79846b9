// Checks what operators deploy, by the code of the projects that read it, and prints the result as JSON.
//
//	check-deployment compose FILE       Compose: the schema and the rules of its specification
//	check-deployment kubernetes DIR     Kustomize builds DIR; each object must be one of Kubernetes' or of the Prometheus Operator's,
//	                                    with known fields only; pods must meet the standard "restricted"
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/compose-spec/compose-go/v2/cli"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

func main() {
	check := map[string]func(string) (any, error){"compose": compose, "kubernetes": kubernetes}[os.Args[1]]
	result, err := check(os.Args[2])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

// The project as Compose reads it.
func compose(file string) (any, error) {
	options, err := cli.NewProjectOptions([]string{file}, cli.WithName("queue-latency"))
	if err != nil {
		return nil, err
	}
	return options.LoadProject(context.Background())
}

// The objects, in the order of Kustomize.
func kubernetes(directory string) (any, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, core.AddToScheme, networking.AddToScheme, policyv1.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			return nil, err
		}
	}
	decoder := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, err
	}

	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), directory)
	if err != nil {
		return nil, err
	}
	objects := []runtime.Object{}
	for _, resource := range built.Resources() {
		text, err := resource.AsYAML()
		if err != nil {
			return nil, err
		}
		object, _, err := decoder.Decode(text, nil, nil)
		if err != nil {
			return nil, fmt.Errorf("%s %s: %w", resource.GetKind(), resource.GetName(), err)
		}
		if deployment, ok := object.(*apps.Deployment); ok {
			template := deployment.Spec.Template
			restricted := api.LevelVersion{Level: api.LevelRestricted, Version: api.LatestVersion()}
			for _, result := range evaluator.EvaluatePod(restricted, &template.ObjectMeta, &template.Spec) {
				if !result.Allowed {
					return nil, fmt.Errorf("%s: %s: %s", deployment.Name, result.ForbiddenReason, result.ForbiddenDetail)
				}
			}
		}
		objects = append(objects, object)
	}
	return objects, nil
}
