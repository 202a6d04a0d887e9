package simulator

import (
	"net/http"
	"strings"
)

// Fixed paths of v0 under /api/v0/. Reality takes some of the writes as GET too.
// read only
var v0Routes = map[string]*operation{
	"POST auth/test":                     {name: "auth", do: (*call).authTest},
	"POST auth/list":                     {name: "auth_list", do: (*call).authList},
	"GET client/deploy/hostnodes":        {name: "hostnodes", public: true, do: (*call).hostnodes},
	"POST client/deploy/single":          {name: "deploy", write: true, do: (*call).deploySingle},
	"POST client/spot/validate/new":      {name: "validate", do: (*call).validateNew},
	"POST client/spot/validate/existing": {name: "validate_existing", write: true, do: (*call).validateOld},
	"POST client/list":                   {name: "list", do: (*call).list},
	"POST client/get/single":             {name: "get", do: (*call).getSingle},
	"POST client/start/single":           {name: "start", write: true, do: (*call).startSingle},
	"POST client/stop/single":            {name: "stop", write: true, do: (*call).stopSingle},
	"POST client/modify/single":          {name: "modify", write: true, do: (*call).modifySingle},
	"POST client/delete/single":          {name: "delete", write: true, do: (*call).deleteSingle},
	"POST client/deployinstant/single":   {name: "deploy_instant", write: true, do: (*call).deployInstant},
	"GET client/deploy/instantvms":       {name: "instants", public: true, do: (*call).instants},
	"POST client/container/deploy":       {name: "container_deploy", write: true, do: (*call).containerDeploy},
	"POST client/container/scale":        {name: "container_scale", write: true, do: (*call).containerScale},
	"POST client/container/stop":         {name: "container_stop", write: true, do: (*call).containerStop},
	"POST billing/balance":               {name: "balance", do: (*call).balance},
	"POST billing/revenue":               {name: "revenue", do: (*call).revenue},
	"POST billing/summary":               {name: "summary", do: (*call).summary},
}

var (
	opHostnode = &operation{name: "hostnode", public: true, do: (*call).hostnode}
	opReplicas = &operation{name: "replicas", do: (*call).replicas}
)

// v2 by method and number of path elements; the last one where it is a verb.
var v2Routes = map[string]*operation{
	"GET locations":             {name: "v2_locations", v2: true, public: true, do: (*call).locations2},
	"GET hostnodes":             {name: "v2_hostnodes", v2: true, public: true, do: (*call).hostnodes2},
	"GET hostnodes/{id}":        {name: "v2_hostnode", v2: true, public: true, do: (*call).hostnode2},
	"GET instances":             {name: "v2_list", v2: true, do: (*call).list2},
	"POST instances":            {name: "v2_create", v2: true, write: true, do: (*call).create2},
	"GET instances/{id}":        {name: "v2_get", v2: true, do: (*call).get2},
	"DELETE instances/{id}":     {name: "v2_delete", v2: true, write: true, do: (*call).delete2},
	"POST instances/{id}/start": {name: "v2_start", v2: true, write: true, do: (*call).start2},
	"POST instances/{id}/stop":  {name: "v2_stop", v2: true, write: true, do: (*call).stop2},
	"PUT instances/{id}/modify": {name: "v2_modify", v2: true, write: true, do: (*call).modify2},
}

// route finds the operation of a request and the id in its path.
func (f *face) route(r *http.Request) (*operation, string) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if rest, is := strings.CutPrefix(path, "/api/v0/"); is {
		return routeV0(r.Method, rest)
	}
	if rest, is := strings.CutPrefix(path, "/api/v2/"); is {
		parts := strings.SplitN(rest, "/", 3)
		id := ""
		if len(parts) > 1 {
			id, parts[1] = parts[1], "{id}"
		}
		return v2Routes[r.Method+" "+strings.Join(parts, "/")], id
	}
	return nil, ""
}

func routeV0(method, rest string) (*operation, string) {
	if op := v0Routes[method+" "+rest]; op != nil {
		return op, ""
	}
	if method != http.MethodGet {
		return nil, ""
	}
	switch op := v0Routes["POST "+rest]; {
	case op != nil && (op.name == "start" || op.name == "stop" || op.name == "delete" || op.name == "auth"):
		return op, ""
	case strings.HasPrefix(rest, "client/deploy/hostnodes/"):
		return opHostnode, rest[len("client/deploy/hostnodes/"):]
	case strings.HasPrefix(rest, "client/container/") && strings.HasSuffix(rest, "/replicas"):
		return opReplicas, strings.TrimSuffix(rest[len("client/container/"):], "/replicas")
	}
	return nil, ""
}
