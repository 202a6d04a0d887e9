package shipping

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/tdscaler/tdscaler/internal/policy"
)

// What the manifests use of Kubernetes' types, and nothing else: a key that is not here
// is a typo, or belongs here.
type (
	words = map[string]string

	meta struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
		Labels    words  `yaml:"labels"`
	}
	object struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
		Metadata   meta   `yaml:"metadata"`
	}
	selector struct {
		MatchLabels words `yaml:"matchLabels"`
	}
	named struct {
		Name string `yaml:"name"`
	}

	deployment struct {
		object `yaml:",inline"`
		Spec   struct {
			Replicas int `yaml:"replicas"`
			Strategy struct {
				Type string `yaml:"type"`
			} `yaml:"strategy"`
			Selector selector `yaml:"selector"`
			Template struct {
				Metadata meta `yaml:"metadata"`
				Spec     pod  `yaml:"spec"`
			} `yaml:"template"`
		} `yaml:"spec"`
	}
	pod struct {
		ServiceAccountName            string      `yaml:"serviceAccountName"`
		AutomountServiceAccountToken  *bool       `yaml:"automountServiceAccountToken"`
		EnableServiceLinks            bool        `yaml:"enableServiceLinks"`
		TerminationGracePeriodSeconds int         `yaml:"terminationGracePeriodSeconds"`
		SecurityContext               podSecurity `yaml:"securityContext"`
		Containers                    []container `yaml:"containers"`
		Volumes                       []volume    `yaml:"volumes"`
	}
	podSecurity struct {
		RunAsNonRoot        bool   `yaml:"runAsNonRoot"`
		RunAsUser           string `yaml:"runAsUser"`
		RunAsGroup          string `yaml:"runAsGroup"`
		FSGroup             string `yaml:"fsGroup"`
		FSGroupChangePolicy string `yaml:"fsGroupChangePolicy"`
		SeccompProfile      struct {
			Type string `yaml:"type"`
		} `yaml:"seccompProfile"`
	}
	container struct {
		Name            string   `yaml:"name"`
		Image           string   `yaml:"image"`
		ImagePullPolicy string   `yaml:"imagePullPolicy"`
		Args            []string `yaml:"args"`
		Ports           []struct {
			Name          string `yaml:"name"`
			ContainerPort string `yaml:"containerPort"`
		} `yaml:"ports"`
		StartupProbe    probe `yaml:"startupProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		SecurityContext struct {
			AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
			ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
			Capabilities             struct {
				Drop []string `yaml:"drop"`
			} `yaml:"capabilities"`
		} `yaml:"securityContext"`
		Resources struct {
			Requests words `yaml:"requests"`
			Limits   words `yaml:"limits"`
		} `yaml:"resources"`
		VolumeMounts []struct {
			Name      string `yaml:"name"`
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet struct {
			Path string `yaml:"path"`
			Port string `yaml:"port"`
		} `yaml:"httpGet"`
		PeriodSeconds    int `yaml:"periodSeconds"`
		TimeoutSeconds   int `yaml:"timeoutSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
	volume struct {
		Name      string `yaml:"name"`
		ConfigMap named  `yaml:"configMap"`
		Secret    struct {
			SecretName  string `yaml:"secretName"`
			DefaultMode int    `yaml:"defaultMode"`
		} `yaml:"secret"`
		PersistentVolumeClaim struct {
			ClaimName string `yaml:"claimName"`
		} `yaml:"persistentVolumeClaim"`
	}
	service struct {
		object `yaml:",inline"`
		Spec   struct {
			Selector                 words `yaml:"selector"`
			PublishNotReadyAddresses bool  `yaml:"publishNotReadyAddresses"`
			Ports                    []struct {
				Name       string `yaml:"name"`
				Port       string `yaml:"port"`
				TargetPort string `yaml:"targetPort"`
			} `yaml:"ports"`
		} `yaml:"spec"`
	}
	serviceMonitor struct {
		object `yaml:",inline"`
		Spec   struct {
			JobLabel  string   `yaml:"jobLabel"`
			Selector  selector `yaml:"selector"`
			Endpoints []struct {
				Port     string `yaml:"port"`
				Path     string `yaml:"path"`
				Interval string `yaml:"interval"`
			} `yaml:"endpoints"`
		} `yaml:"spec"`
	}
	networkPolicy struct {
		object `yaml:",inline"`
		Spec   struct {
			PodSelector selector  `yaml:"podSelector"`
			PolicyTypes []string  `yaml:"policyTypes"`
			Ingress     []traffic `yaml:"ingress"`
			Egress      []traffic `yaml:"egress"`
		} `yaml:"spec"`
	}
	traffic struct {
		From []struct {
			NamespaceSelector selector `yaml:"namespaceSelector"`
		} `yaml:"from"`
		Ports []struct {
			Port     string `yaml:"port"`
			Protocol string `yaml:"protocol"`
		} `yaml:"ports"`
	}
	claim struct {
		object `yaml:",inline"`
		Spec   struct {
			AccessModes []string `yaml:"accessModes"`
			Resources   struct {
				Requests words `yaml:"requests"`
			} `yaml:"resources"`
		} `yaml:"spec"`
	}
	secretObject struct {
		object     `yaml:",inline"`
		Type       string `yaml:"type"`
		StringData words  `yaml:"stringData"`
	}
	serviceAccount struct {
		object                       `yaml:",inline"`
		AutomountServiceAccountToken *bool `yaml:"automountServiceAccountToken"`
	}
	kustomization struct {
		object    `yaml:",inline"`
		Namespace string `yaml:"namespace"`
		Labels    []struct {
			Pairs            words `yaml:"pairs"`
			IncludeSelectors bool  `yaml:"includeSelectors"`
		} `yaml:"labels"`
		Resources          []string `yaml:"resources"`
		ConfigMapGenerator []struct {
			Name  string   `yaml:"name"`
			Files []string `yaml:"files"`
		} `yaml:"configMapGenerator"`
		GeneratorOptions struct {
			DisableNameSuffixHash bool `yaml:"disableNameSuffixHash"`
		} `yaml:"generatorOptions"`
		Images []struct {
			Name    string `yaml:"name"`
			NewName string `yaml:"newName"`
			NewTag  string `yaml:"newTag"`
		} `yaml:"images"`
	}
)

const manifests = "deploy/kubernetes/"

// manifest reads the one document of a file strictly, and holds what it says it is.
func manifest[T any](t *testing.T, file, apiVersion, kind string, of func(*T) object) T {
	t.Helper()
	var v T
	text := read(t, manifests+file)
	dec := yaml.NewDecoder(strings.NewReader(text))
	dec.KnownFields(true)
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		t.Errorf("%s has more than one document", file)
	}
	if o := of(&v); o.APIVersion != apiVersion || o.Kind != kind {
		t.Errorf("%s is %s %s, want %s %s", file, o.APIVersion, o.Kind, apiVersion, kind)
	}
	return v
}

func theDeployment(t *testing.T) deployment {
	t.Helper()
	return manifest(t, "deployment.yaml", "apps/v1", "Deployment", func(d *deployment) object { return d.object })
}

func theKustomization(t *testing.T) kustomization {
	t.Helper()
	return manifest(t, "kustomization.yaml", "kustomize.config.k8s.io/v1beta1", "Kustomization", func(k *kustomization) object { return k.object })
}

func TestOneDaemonHasTheLedgerAndTheLabelsFindIt(t *testing.T) {
	d, k := theDeployment(t), theKustomization(t)
	labels := d.Spec.Template.Metadata.Labels
	if d.Spec.Replicas != 1 || d.Spec.Strategy.Type != "Recreate" {
		t.Errorf("%d replicas, %s: two daemons would want one ledger", d.Spec.Replicas, d.Spec.Strategy.Type)
	}
	s := manifest(t, "service.yaml", "v1", "Service", func(s *service) object { return s.object })
	m := manifest(t, "servicemonitor.yaml", "monitoring.coreos.com/v1", "ServiceMonitor", func(m *serviceMonitor) object { return m.object })
	n := manifest(t, "networkpolicy.yaml", "networking.k8s.io/v1", "NetworkPolicy", func(n *networkPolicy) object { return n.object })
	for what, got := range map[string]words{
		"the deployment's selector": d.Spec.Selector.MatchLabels, "the service's selector": s.Spec.Selector, "the service's labels": s.Metadata.Labels,
		"the monitor's selector": m.Spec.Selector.MatchLabels, "the network policy": n.Spec.PodSelector.MatchLabels, "the kustomization": k.Labels[0].Pairs,
	} {
		if len(got) == 0 || !maps.Equal(got, labels) {
			t.Errorf("%s: %v, the pod has %v", what, got, labels)
		}
	}
	if m.Spec.JobLabel != "app.kubernetes.io/name" || labels[m.Spec.JobLabel] != "tdscaler" {
		t.Errorf("the job is not tdscaler: %+v", m.Spec)
	}
	c := d.Spec.Template.Spec.Containers[0]
	if c.Ports[0].Name != s.Spec.Ports[0].TargetPort || c.Ports[0].ContainerPort != s.Spec.Ports[0].Port || m.Spec.Endpoints[0].Port != s.Spec.Ports[0].Name || m.Spec.Endpoints[0].Path != "/metrics" {
		t.Errorf("pod %+v, service %+v, monitor %+v", c.Ports, s.Spec.Ports, m.Spec.Endpoints)
	}
	if in := n.Spec.Ingress; !slices.Equal(n.Spec.PolicyTypes, []string{"Ingress", "Egress"}) || len(in) != 1 || len(in[0].From) != 1 || in[0].Ports[0].Port != c.Ports[0].Name {
		t.Errorf("who may reach the port: %+v", n.Spec)
	}
}

func TestThePodStartsTheDaemonAsTheImageDoesAndIsProbedWhereItAnswers(t *testing.T) {
	pages := read(t, "internal/web/web.go")
	c := theDeployment(t).Spec.Template.Spec.Containers[0]
	if command(t, "args", c.Args); flagged(c.Args, "--config") != configPath || !slices.Equal(c.Args, exec(t, "CMD", last(instructions(read(t, "deploy/docker/Dockerfile"))[1], "CMD"))) {
		t.Errorf("%q", c.Args)
	}
	for path, p := range map[string]probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe} {
		if p.HTTPGet.Path != path || p.HTTPGet.Port != c.Ports[0].Name || p.PeriodSeconds == 0 || !strings.Contains(pages, `"`+path+`"`) {
			t.Errorf("probe of %s: %+v", path, p)
		}
	}
	if p := c.StartupProbe; p.HTTPGet != c.LivenessProbe.HTTPGet || p.PeriodSeconds*p.FailureThreshold < 120 {
		t.Errorf("a large ledger has no time to be read: %+v", p)
	}
	s := settings(t, manifests+"policies.yaml")
	if s.Daemon.Mode != policy.DryRun || port(t, s.Daemon.Listen) != c.Ports[0].ContainerPort || filepath.Dir(s.Daemon.Ledger) != statePath {
		t.Errorf("%+v", s.Daemon)
	}
}

func TestThePodMayDoNothingThatItNeedNot(t *testing.T) {
	p := theDeployment(t).Spec.Template.Spec
	sc := p.SecurityContext
	if !sc.RunAsNonRoot || sc.RunAsUser != user || sc.RunAsGroup != user || sc.FSGroup != user || sc.SeccompProfile.Type != "RuntimeDefault" {
		t.Errorf("%+v", sc)
	}
	c := p.Containers[0]
	if s := c.SecurityContext; s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation || !s.ReadOnlyRootFilesystem || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) {
		t.Errorf("%+v", s)
	}
	if p.AutomountServiceAccountToken == nil || *p.AutomountServiceAccountToken {
		t.Error("a token for Kubernetes is mounted")
	}
	a := manifest(t, "serviceaccount.yaml", "v1", "ServiceAccount", func(a *serviceAccount) object { return a.object })
	if a.Metadata.Name != p.ServiceAccountName || a.AutomountServiceAccountToken == nil || *a.AutomountServiceAccountToken {
		t.Errorf("%+v", a)
	}
	if c.Resources.Requests["cpu"] == "" || c.Resources.Requests["memory"] == "" || c.Resources.Limits["memory"] == "" {
		t.Errorf("%+v", c.Resources)
	}
	ns := manifest(t, "namespace.yaml", "v1", "Namespace", func(o *object) object { return *o })
	if ns.Metadata.Name != theKustomization(t).Namespace || ns.Metadata.Labels["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("%+v", ns)
	}
}

func TestEveryMountHasItsVolumeAndWhatIsInIt(t *testing.T) {
	p, k := theDeployment(t).Spec.Template.Spec, theKustomization(t)
	pvc := manifest(t, "pvc.yaml", "v1", "PersistentVolumeClaim", func(c *claim) object { return c.object })
	secret := manifest(t, "secret.example.yaml", "v1", "Secret", func(s *secretObject) object { return s.object })
	s := settings(t, manifests+"policies.yaml")
	volumes := map[string]volume{}
	for _, v := range p.Volumes {
		volumes[v.Name] = v
	}
	mounts := p.Containers[0].VolumeMounts
	if len(mounts) != 3 || len(volumes) != 3 {
		t.Fatalf("mounts %+v of volumes %+v", mounts, volumes)
	}
	for _, m := range mounts {
		v := volumes[m.Name]
		switch m.MountPath {
		case filepath.Dir(configPath):
			if v.ConfigMap.Name != k.ConfigMapGenerator[0].Name || !m.ReadOnly || !slices.Equal(k.ConfigMapGenerator[0].Files, []string{filepath.Base(configPath)}) || !k.GeneratorOptions.DisableNameSuffixHash {
				t.Errorf("%+v of %+v", m, v)
			}
		case statePath:
			if v.PersistentVolumeClaim.ClaimName != pvc.Metadata.Name || m.ReadOnly || pvc.Spec.Resources.Requests["storage"] == "" {
				t.Errorf("%+v of %+v", m, v)
			}
		default:
			if v.Secret.SecretName != secret.Metadata.Name || v.Secret.DefaultMode != 0o440 || !m.ReadOnly {
				t.Errorf("%+v of %+v", m, v)
			}
			for _, file := range []string{s.TensorDock.APIKeyFile, s.TensorDock.APITokenFile} {
				if _, ok := secret.StringData[filepath.Base(file)]; !ok || filepath.Dir(file) != m.MountPath {
					t.Errorf("%s is not in %s with %v", file, m.MountPath, secret.StringData)
				}
			}
		}
	}
	for name, value := range secret.StringData {
		if value != "" {
			t.Errorf("%s has a value", name)
		}
	}
}

func TestTheKustomizationTakesEveryManifestButTheExamples(t *testing.T) {
	k := theKustomization(t)
	files, err := os.ReadDir(filepath.Join(root, manifests))
	if err != nil {
		t.Fatal(err)
	}
	// What is taken elsewhere, left to who has the operator, or an example.
	aside := []string{"kustomization.yaml", "policies.yaml", "secret.example.yaml", "servicemonitor.yaml"}
	for _, f := range files {
		if taken := slices.Contains(k.Resources, f.Name()); taken == slices.Contains(aside, f.Name()) {
			t.Errorf("%s: taken %t", f.Name(), taken)
		}
	}
	if len(k.Resources)+len(aside) != len(files) {
		t.Errorf("%v of %d files", k.Resources, len(files))
	}
	if i := k.Images[0]; i.Name != theDeployment(t).Spec.Template.Spec.Containers[0].Image || !pinned.MatchString(i.NewName+":"+i.NewTag) {
		t.Errorf("%+v", i)
	}
}

func TestATypoInAManifestIsFound(t *testing.T) {
	text := strings.Replace(read(t, manifests+"deployment.yaml"), "readOnlyRootFilesystem", "readOnlyRootFileSystem", 1)
	dec := yaml.NewDecoder(bytes.NewBufferString(text))
	dec.KnownFields(true)
	if err := dec.Decode(new(deployment)); err == nil || !strings.Contains(err.Error(), "readOnlyRootFileSystem not found") {
		t.Errorf("%v", err)
	}
}
