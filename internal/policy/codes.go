package policy

// Codes of problems. A code never changes its meaning; docs/problems.md has a
// section for each.
const (
	CodeEncoding  = "TD001"
	CodeTooLarge  = "TD002"
	CodeSyntax    = "TD003"
	CodeDocuments = "TD004"
	CodeEmpty     = "TD005"
	CodeFeature   = "TD006"
	CodeDuplicate = "TD007"

	CodeUnknownKey = "TD101"
	CodeType       = "TD102"
	CodeMissing    = "TD103"
	CodeNoValue    = "TD104"
	CodeChoice     = "TD105"
	CodeBounds     = "TD106"
	CodeDuration   = "TD107"
	CodeMoney      = "TD108"
	CodeSize       = "TD109"
	CodeRepeated   = "TD110"

	CodeSchedule = "TD201"
	CodeOwner    = "TD202"
	CodeListen   = "TD203"
	CodeURL      = "TD204"
	CodeExposed  = "TD205"
	CodePath     = "TD206"
	CodeOrder    = "TD207"
	CodeZone     = "TD208"
	CodePlain    = "TD209"

	CodeNoCap    = "TD301"
	CodeSmallCap = "TD302"
	CodeWideCap  = "TD303"
	CodeDear     = "TD304"

	CodeNoPolicies   = "TD401"
	CodePolicyName   = "TD402"
	CodeSameName     = "TD403"
	CodeTarget       = "TD404"
	CodeIndivisible  = "TD405"
	CodeKind         = "TD406"
	CodeOddCPUs      = "TD408"
	CodeOddRAM       = "TD409"
	CodeSmallDisk    = "TD410"
	CodeImage        = "TD411"
	CodeNoLogin      = "TD412"
	CodeEitherOr     = "TD413"
	CodeNoKey        = "TD414"
	CodeSSHKey       = "TD415"
	CodeMatchNothing = "TD416"
	CodeModel        = "TD417"
	CodeNoOrder      = "TD418"
	CodeProtected    = "TD419"
	CodeLabel        = "TD420"
	CodeBidding      = "TD421"
	CodeDemand       = "TD422"
	CodeHook         = "TD430"
	CodeSink         = "TD440"
	CodeTemplate     = "TD441"
)

// CodeInfo explains one code to the person who meets it.
type CodeInfo struct {
	Code    string
	Title   string
	Meaning string
	Example string // a piece of a file that has the problem
	Mend    string
}

// Codes lists every code there is, in order.
func Codes() []CodeInfo {
	return []CodeInfo{
		{
			CodeEncoding, "The file is not UTF-8 text",
			"The file holds bytes that are not UTF-8, or it was saved as UTF-16.",
			"name: caf\\xe9",
			"Save it as UTF-8. The line and column show the first byte that does not fit.",
		},
		{
			CodeTooLarge, "The file is too large",
			"A policy file has at most 1 MiB. Nothing of a larger one is read.",
			"# a file of 2 MiB",
			"Check that it is the right file; put long scripts into files of their own with `cloud_init_file`.",
		},
		{
			CodeSyntax, "This is not YAML",
			"The file cannot be read as YAML from this line on. Often it is a tab where spaces belong, a missing colon, a quote that is never closed, or a line that is not indented like its neighbours.",
			"budget:\n\tmax_hourly: 5",
			"Mend the line shown, or the one above it. Indent with spaces.",
		},
		{
			CodeDocuments, "The file holds more than one document",
			"A line `---` starts a second YAML document. Its policies would be silently ignored, so the file is refused.",
			"version: 1\n---\nversion: 1",
			"Put everything into one document and remove the `---`.",
		},
		{
			CodeEmpty, "The file is empty",
			"There is nothing in the file but comments or blank lines. An empty file is most likely an accident (a full disk, a failed copy) and is never taken as \"remove everything\".",
			"# nothing here",
			"Write at least `version: 1`; `policies: []` says on purpose that no machine is wanted.",
		},
		{
			CodeFeature, "A feature of YAML that is not used here",
			"Anchors (`&x`), aliases (`*x`), merge keys (`<<`) and tags (`!!str`) are refused: what is bought must be readable where it is written.",
			"shape: &big {gpus: 8}",
			"Write the values out.",
		},
		{
			CodeDuplicate, "A key is written twice",
			"The same key appears twice in one place. Which of the two should count cannot be known.",
			"max_gpu_hour: 0.40\nmax_gpu_hour: 0.60",
			"Remove one of them.",
		},

		{
			CodeUnknownKey, "Unknown key",
			"No key of this name exists here. It is never ignored: a misspelt cap would be no cap.",
			"budget: {max_hourley: 5}",
			"Use the name that the hint suggests; `tdscaler check --schema` lists them all. Secrets have no key: name a file, or use the environment.",
		},
		{
			CodeType, "Wrong type of value",
			"A text stands where a number belongs, a list where one value belongs, and so on.",
			"priority: \"high\"",
			"Write the type that the message asks for. Numbers have no quotes; texts that look like numbers need them.",
		},
		{
			CodeMissing, "A required key is missing",
			"Without this key it is not known what you want or what it may cost.",
			"- name: training   # and no max_gpu_hour",
			"Add the key.",
		},
		{
			CodeNoValue, "A key without a value",
			"The key is there, but nothing follows it. A cap whose number was deleted by mistake must not become \"no cap\".",
			"budget:\n  max_hourly:",
			"Write a value, or remove the key to have its default.",
		},
		{
			CodeChoice, "Not one of the possible values",
			"This key takes one of a few words.",
			"mode: prod",
			"Use one of the words listed.",
		},
		{
			CodeBounds, "Out of bounds",
			"The number is too small, too large or no number at all (`.nan`, `.inf`).",
			"match: {min_uptime: 99}",
			"Stay within the bounds shown. Shares and uptimes are fractions: 99 % is `0.99`.",
		},
		{
			CodeDuration, "Not a duration",
			"Durations are numbers with a unit: `ms`, `s`, `m` or `h`, as in `90s`, `1h30m`. There are no days and no bare numbers.",
			"cooldown: 5 minutes",
			"Write `5m`. Seven days are `168h`; none is `0s`.",
		},
		{
			CodeMoney, "Not an amount of money",
			"Money is US dollars as a plain decimal number with at most nine decimals: no sign, currency, quotes, exponent, hexadecimal or octal. Prices and caps are above zero.",
			"max_gpu_hour: $0.40",
			"Write `0.40`.",
		},
		{
			CodeSize, "Not a size",
			"Sizes are whole numbers with a unit: `KiB`, `MiB`, `GiB`, `TiB`, `KB`, `MB`, `GB` or `TB`.",
			"max_size: 1 gig",
			"Write `1GiB`.",
		},
		{
			CodeRepeated, "Listed twice",
			"The same entry stands twice in a list.",
			"ports: [22, 22]",
			"Remove one.",
		},

		{
			CodeSchedule, "The schedule cannot be used",
			"The schedule is not a cron line of five fields, not `@every DURATION` of whole seconds from `1s` up, names an unknown time zone, or never fires (31 February).",
			"schedule: \"@every 100ms\"",
			"Write for example `@every 1m`, `*/5 * * * *` or `CRON_TZ=Europe/Berlin 0 7 * * 1-5`. Without a zone it is UTC.",
		},
		{
			CodeOwner, "Not a valid owner",
			"The owner is part of every machine's name and says which machines are ours: 1 to 16 lower-case letters, digits and single hyphens.",
			"owner: Team_A",
			"Write for example `team-a`. Do not change it while machines are running: they would no longer be ours.",
		},
		{
			CodeListen, "Not an address to listen on",
			"The address is not `HOST:PORT`.",
			"listen: 9877",
			"Write for example `127.0.0.1:9877`; port 0 takes a free one, `\"\"` switches the server off.",
		},
		{
			CodeURL, "Not an origin",
			"The URL must be `https://HOST` or `https://HOST:PORT`: no user, no query, no path but `/api/v0` or `/api/v2`, which is dropped. Plain `http://` would send your key readable to all; it is allowed to this machine only, or with `allow_plain_http`.",
			"marketplace_url: http://market.example.com",
			"Write the origin with `https://`. Keys belong into `api_key_file` and `api_token_file`.",
		},
		{
			CodeExposed, "Warning: the status server is open to others",
			"The HTTP server only reads and shows no secrets, but it has no password, and this address can be reached from other machines. They see the names of your policies, how many GPUs run at what price, your spend and your balance.",
			"listen: 0.0.0.0:9877",
			"Use `127.0.0.1:9877`, or keep it so where a firewall or a container network stands before it.",
		},
		{
			CodePath, "The path cannot be used",
			"Paths are taken as written, relative to this file's folder. `~` and `$HOME` are not expanded: a service often has no home. A file that is named must be there, be readable and hold something.",
			"ssh_key_file: ~/.ssh/id_ed25519.pub",
			"Write the whole path, or one relative to this file.",
		},
		{
			CodeOrder, "The least is above the most",
			"A lower bound is greater than its upper bound.",
			"safety: {backoff_min: 2h, backoff_max: 1h}",
			"Swap or change them.",
		},
		{
			CodeZone, "No such time zone",
			"Days and months of the caps begin where this zone says. The name is not in the time zone database.",
			"budget: {time_zone: Berlin}",
			"Write a name of the form `Continent/City`, such as `Europe/Berlin`, or `UTC`.",
		},
		{
			CodePlain, "Warning: the market is asked over plain HTTP",
			"`allow_plain_http` is set and this URL is `http://` to another machine. Whoever is on the way (the network's owner, anybody on the same Wi-Fi) reads the API key, the token and the passwords of new machines, can spend your money with them, and can forge every answer.",
			"tensordock: {allow_plain_http: true, marketplace_url: http://market.example.com}",
			"Use `https://`, or a tunnel whose near end is on this machine (`http://127.0.0.1:PORT` needs no permission).",
		},

		{
			CodeNoCap, "Warning: live without an hourly budget",
			"`mode: live` spends money and `budget.max_hourly` is not set. The cap is then the sum of all targets times their ceilings, which grows with every edit of a target.",
			"daemon: {mode: live}",
			"Set `budget.max_hourly` to what you can bear to lose in an hour.",
		},
		{
			CodeSmallCap, "Warning: the budget is too small for one machine",
			"One machine at the policy's ceiling costs more per hour than the budget allows. It may still be bought below its ceiling, or never.",
			"budget: {max_hourly: 1}\n# policy: max_gpu_hour 0.50, shape.gpus 4: up to $2.00 an hour",
			"Raise the budget, lower `max_gpu_hour`, or take smaller machines.",
		},
		{
			CodeWideCap, "Warning: a policy may spend more than everything together",
			"A policy's budget is above the global budget of the same kind. The global one holds, so the policy's has no effect.",
			"budget: {max_hourly: 5}\n# policy: budget.max_hourly 10",
			"Lower the policy's budget or remove it.",
		},
		{
			CodeDear, "Warning: an unusually high price",
			"`max_gpu_hour` is above $20 for one GPU for one hour. It is often cents written as dollars, or the price of a whole machine.",
			"max_gpu_hour: 40",
			"Write dollars per GPU-hour: forty cents are `0.40`.",
		},

		{
			CodeNoPolicies, "Warning: no policies",
			"The file wants nothing. That is legal, and it means that every machine known to be ours is torn down.",
			"policies: []",
			"If that is not what you want, restore the policies. To stop everything, it is what you want.",
		},
		{
			CodePolicyName, "Not a valid policy name",
			"The name becomes part of every machine's name: letters and digits with single `-`, `_` or `.` between them, short enough for a machine name of 60 characters.",
			"name: \"my policy\"",
			"Write for example `my-policy`.",
		},
		{
			CodeSameName, "Two policies have the same name",
			"Machines belong to a policy by its name, so a name can be used once.",
			"- name: train\n- name: train",
			"Rename one. The message gives the line of the other.",
		},
		{
			CodeTarget, "The target is not one number",
			"A target is one of `gpus`, `instances` or `replicas`: none is no target, two contradict each other.",
			"target: {gpus: 8, instances: 2}",
			"Keep one. `target: {gpus: 0}` is how to want none.",
		},
		{
			CodeIndivisible, "The target is no multiple of the machine's GPUs",
			"So many GPUs cannot be made of whole machines of this shape. Nothing is rounded up: it would spend what was not asked for.",
			"target: {gpus: 6}\nshape: {gpus: 4}",
			"Change the target or `shape.gpus`.",
		},
		{
			CodeKind, "Does not fit the kind",
			"This key or value has no meaning for this kind: `replicas` are for containers, `gpus` and `instances` for machines; only `kind: vm` can be bought as spot; the market chooses where a container runs, so that it takes no places, hosts, bids, keys or passwords.",
			"kind: vm\ntarget: {replicas: 3}",
			"Use what the message names, or another kind.",
		},
		{
			CodeOddCPUs, "Warning: an odd number of vCPUs",
			"The marketplace sells vCPUs in even numbers. A shape is what a machine has at least, so the next even number is bought, and paid for.",
			"shape: {vcpus: 5}",
			"Write the next even number.",
		},
		{
			CodeOddRAM, "Warning: an odd amount of RAM",
			"Many hosts refuse an odd number of GB. A shape is what a machine has at least, so the next even number is bought, and paid for.",
			"shape: {ram_gb: 17}",
			"Write the next even number.",
		},
		{
			CodeSmallDisk, "The disk is too small for the image",
			"The operating system does not fit on this disk, and the deploy would fail.",
			"image: Windows 10\nshape: {storage_gb: 50}",
			"Give `shape.storage_gb` at least what the message says.",
		},
		{
			CodeImage, "Warning: unknown image",
			"This version does not know an operating system of that name. It is passed on as written, and the marketplace may refuse every deploy.",
			"image: Ubuntu 22.10",
			"Use the name that the hint suggests, unless you know better.",
		},
		{
			CodeNoLogin, "Warning: no port to log in by",
			"The port for logging in (22; 3389 for Windows) is not among `ports`, so nobody can reach the machine's shell.",
			"ports: [8080]",
			"Add it, unless the machine needs no visitor.",
		},
		{
			CodeEitherOr, "Two keys that exclude each other",
			"The same thing is given twice (inline and as a file), one file is named for two secrets, or Windows is given an SSH key, which it cannot use.",
			"ssh_key: ssh-ed25519 AAAA...\nssh_key_file: id.pub",
			"Keep one of them.",
		},
		{
			CodeNoKey, "Warning: neither SSH key nor password",
			"Each machine gets its own random password, kept in a file of mode 0600 in `credentials/` beside the ledger until the machine is deleted.",
			"- name: train   # and no ssh_key, ssh_key_file or password_file",
			"Set `ssh_key_file` if you want to log in with a key.",
		},
		{
			CodeSSHKey, "Not a public SSH key",
			"`ssh_key` must be one line like `ssh-ed25519 AAAA... comment`. A private key must never be sent to a host. A warning only where a file's name does not end in `.pub`.",
			"ssh_key: \"-----BEGIN OPENSSH PRIVATE KEY-----\"",
			"Use the public key: the file that ends in `.pub`. If a private key stood in this file, replace that key.",
		},
		{
			CodeMatchNothing, "Nothing can match",
			"Everything that `match` asks for is excluded again by `match.deny` or by `min_vram_gb`, so the target can never be met.",
			"match: {countries: [US], deny: {countries: [United States]}}",
			"Remove one of the two.",
		},
		{
			CodeModel, "Warning: unknown GPU model",
			"No GPU known to this version has this name. New models appear, so it is kept, but a misspelt one matches nothing.",
			"gpu_models: [rtx4090-24gb]",
			"Use the marketplace's own name, such as `geforcertx4090-pcie-24gb`, or a pattern, such as `*rtx4090*`.",
		},
		{
			CodeNoOrder, "A preference without a list",
			"`prefer_order` takes GPU models in the order of `match.gpu_models`, and there is no such list.",
			"match: {prefer_order: true}",
			"List the models, best first, or remove `prefer_order`.",
		},
		{
			CodeProtected, "Not a machine of this policy",
			"`protected` takes full names of machines of this policy, `tds-<owner>-<policy>-<key>`. Another name would protect nothing.",
			"protected: [my-machine]",
			"Copy the name from `tdscaler machines`.",
		},
		{
			CodeLabel, "Not a usable label",
			"A label's name is a letter or `_`, then letters, digits and `_`, at most 63 characters; its value has at most 256 characters.",
			"labels: {\"cost centre\": research}",
			"Rename it, for example `cost_centre`.",
		},
		{
			CodeBidding, "A bidding strategy without its number, or with another's",
			"`bidding.strategy: fixed` needs a `price` below `max_gpu_hour`; `fraction` belongs to the strategy `fraction`, `margin` and `max_step` to `discover`. A number that does nothing may be one that somebody counts on.",
			"bidding: {strategy: discover, price: 0.30}",
			"Set the strategy that the number belongs to, or remove the number.",
		},
		{
			CodeDemand, "A schedule, a signal or the webhook lacks a part",
			"A window needs an end (`for` or `until`); a signal needs `per_gpu` or `target_value`, and its target a `max`: what a number of the outside world can cost is yours to say. `step` and `reduce` belong to `range`, `username` to `password_file`, `webhook.listen` to `webhook.secret_file`.",
			"target: {signals: [{prometheus: {url: \"http://127.0.0.1:9090\", query: sum(queue_depth)}, per_gpu: 100}]}",
			"Add the part that the message names: here `max: 16`.",
		},
		{
			CodeHook, "A probe or a hook without what it does",
			"`ready` needs one of `tcp`, `http` and `ssh`; `on_ready` needs a `webhook` or a `command`, and a command is a list with a program in it.",
			"ready: {deadline: 15m}",
			"Say what is to be probed or called, for example `ready: {tcp: 22}` or `on_ready: {command: [/usr/local/bin/join]}`; or remove the section.",
		},
		{
			CodeSink, "A sink of notifications that cannot work",
			"A sink needs an address. That of a chat, a mailbox or ntfy is itself a key, so it is in a file of its own (`url_file`), never in this one. `events` and `policies` name what there is.",
			"notifications: {sinks: [{name: ops, type: slack, url: \"https://hooks.slack.com/services/...\"}]}",
			"Write the address into a file that only the daemon can read, and name it: `url_file: secrets/slack`. What an address looks like: docs/notifications.md.",
		},
		{
			CodeTemplate, "A template that cannot be used",
			"`title_template` and `template` are Go's text/template. Each is tried with a sample when the file is read.",
			"notifications: {sinks: [{name: ops, type: webhook, url: \"https://example.com/\", template: \"{{.Titel}}\"}]}",
			"Mend what the message names. The fields are in docs/notifications.md.",
		},
	}
}
