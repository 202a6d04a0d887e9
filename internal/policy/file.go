package policy

// The raw shape of the file. These types are its only description: the decoder
// takes keys, defaults and bounds from their tags, and so do the JSON Schema and
// the tests of the documents. Checks that need more than one value are in
// check.go.
//
// Tags: yaml is the key; jsonschema holds required, default, minimum, maximum,
// exclusiveMinimum and enum; min and max bound durations and sizes; empty:"ok"
// lets a text be empty.

type file struct {
	at
	Version    integer        `yaml:"version" jsonschema:"required,enum=1" jsonschema_description:"Version of this file's format: 1."`
	Daemon     fileDaemon     `yaml:"daemon" jsonschema_description:"How and when tdscaler runs."`
	TensorDock fileTensorDock `yaml:"tensordock" jsonschema_description:"Where and how fast the marketplace is asked."`
	Budget     fileBudget     `yaml:"budget" jsonschema_description:"Caps on everything together. A key that is left out is no cap of that kind."`
	Limits     fileLimits     `yaml:"limits" jsonschema_description:"What one cycle may do at most."`
	Safety     fileSafety     `yaml:"safety" jsonschema_description:"How much evidence is enough."`
	Ledger     fileLedger     `yaml:"ledger" jsonschema_description:"How much history is kept."`

	Notifications fileNotifications `yaml:"notifications" jsonschema_description:"Who is told what needs somebody."`
	Report        fileReport        `yaml:"report" jsonschema_description:"A page that is sent by the clock: what was delivered, what it cost, what went wrong."`

	Policies []filePolicy `yaml:"policies" jsonschema_description:"What to buy. An empty list means that every machine known to be ours is torn down."`
}

type fileDaemon struct {
	at
	Schedule  text     `yaml:"schedule" jsonschema:"default=@every 1m" jsonschema_description:"When a cycle starts: @every DURATION (whole seconds, at least 1s) or a cron line of five fields, UTC unless it begins with CRON_TZ=ZONE."`
	Watch     duration `yaml:"watch" jsonschema:"default=10s" jsonschema_description:"How often our own machines are looked at between two cycles, and the hosts where a policy lacks spot machines; a cycle starts at once where a machine was lost or has become ready, or an offer has appeared. At most a fifth of marketplace_rps goes there. 0s is never."`
	Mode      text     `yaml:"mode" jsonschema:"enum=dry-run,enum=live,default=dry-run" jsonschema_description:"dry-run looks, asks and plans but changes nothing; live spends money."`
	Ledger    text     `yaml:"ledger" jsonschema:"default=tdscaler.db" jsonschema_description:"Path of the ledger, relative to this file's folder; for a file in /etc/tdscaler, to /var/lib/tdscaler."`
	Listen    text     `yaml:"listen" jsonschema:"default=127.0.0.1:9877" empty:"ok" jsonschema_description:"HOST:PORT of the read-only HTTP server; port 0 takes a free port, an empty text switches it off."`
	Owner     text     `yaml:"owner" jsonschema:"default=main" jsonschema_description:"Whose machines are ours: part of every machine's name. 1 to 16 lower-case letters, digits and single hyphens."`
	LogLevel  text     `yaml:"log_level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error,default=info" jsonschema_description:"The least important log lines that are written."`
	LogFormat text     `yaml:"log_format" jsonschema:"enum=json,enum=console,default=json" jsonschema_description:"json for machines, console for people."`

	Webhook fileWebhook `yaml:"webhook" jsonschema_description:"A listener on which signed requests set targets by hand. Off without listen."`
}

type fileWebhook struct {
	at
	Listen     text `yaml:"listen" jsonschema_description:"HOST:PORT; port 0 takes a free port."`
	SecretFile text `yaml:"secret_file" jsonschema_description:"Path of a file with the secret that requests are signed with: at least 16 bytes, read anew for each request."`
}

type fileTensorDock struct {
	at
	MarketplaceURL text   `yaml:"marketplace_url" jsonschema:"default=https://marketplace.tensordock.com" jsonschema_description:"Origin of the v0 marketplace API."`
	InstancesURL   text   `yaml:"instances_url" jsonschema:"default=https://dashboard.tensordock.com" jsonschema_description:"Origin of the v2 instances API."`
	MarketplaceRPS number `yaml:"marketplace_rps" jsonschema:"exclusiveMinimum=0,maximum=1000,default=1" jsonschema_description:"Requests per second to the marketplace API; TensorDock asks for 1."`
	InstancesRPM   number `yaml:"instances_rpm" jsonschema:"exclusiveMinimum=0,maximum=60000,default=100" jsonschema_description:"Requests per minute to the instances API; TensorDock allows 100."`
	APIKeyFile     text   `yaml:"api_key_file" jsonschema_description:"Path of a file with the API key. Without it the environment is used."`
	APITokenFile   text   `yaml:"api_token_file" jsonschema_description:"Path of a file with the API token. Without it the environment is used."`

	AllowPlainHTTP boolean `yaml:"allow_plain_http" jsonschema:"default=false" jsonschema_description:"Lets the two URLs above be http:// to another machine. Everybody on the way can then read the API key, the token and the machines' passwords, spend your money with them, and forge every answer."`
}

type fileBudget struct {
	at
	MaxHourly  money    `yaml:"max_hourly" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most that all machines together may cost per hour, in dollars per hour, storage included. Above it, machines are deleted, lowest priority first."`
	MaxDaily   money    `yaml:"max_daily" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most to be spent in a day, in dollars. Machines are deleted in time to stay below it."`
	MaxMonthly money    `yaml:"max_monthly" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most to be spent in a calendar month, in dollars. Machines are deleted in time to stay below it."`
	MinBalance money    `yaml:"min_balance" jsonschema:"minimum=0" jsonschema_description:"What the account is to keep, in dollars. Growth stops before it is reached, and machines are deleted in time, lowest priority first."`
	MinRunway  duration `yaml:"min_runway" jsonschema:"default=0s" jsonschema_description:"How long the balance is to last at the rate of all machines. Growth stops before it would be less, and machines are deleted when it is, lowest priority first. 0s is no bound."`
	TimeZone   text     `yaml:"time_zone" jsonschema:"default=UTC" jsonschema_description:"Where the days and months of the caps begin: a name such as Europe/Berlin."`
	Scope      text     `yaml:"scope" jsonschema:"enum=owner,enum=account,default=owner" jsonschema_description:"Whose cost the global caps count: owner is the machines of daemon.owner; account adds everything else that the account is charged for."`
}

type fileLimits struct {
	at
	MaxActions integer `yaml:"max_actions_per_cycle" jsonschema:"minimum=1,maximum=1000,default=20" jsonschema_description:"Deploys, rebids and deletions per cycle."`
	MaxProbes  integer `yaml:"max_probes_per_cycle" jsonschema:"minimum=0,maximum=10000,default=40" jsonschema_description:"Questions about bids per cycle. 0 asks none, so no spot machine is bought."`
	MaxChurn   integer `yaml:"max_churn_per_hour" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"Machines, of all policies, replaced within an hour that would have gone on delivering: moves, and spot in the place of on-demand. Losses, caps and your own changes do not count. 0 replaces none. Default: 10, or twice the machines that all policies want where that is more."`
}

type fileSafety struct {
	at
	UnknownLooks    integer  `yaml:"unknown_looks" jsonschema:"minimum=1,maximum=1000,default=3" jsonschema_description:"Complete lists without a machine before a deploy whose answer was lost is given up."`
	UnknownAge      duration `yaml:"unknown_age" jsonschema:"default=10m" min:"1ms" jsonschema_description:"... and at least this long after it was sent."`
	AbsentLooks     integer  `yaml:"absent_looks" jsonschema:"minimum=1,maximum=1000,default=3" jsonschema_description:"Complete lists without a machine before it counts as gone."`
	AbsentAge       duration `yaml:"absent_age" jsonschema:"default=2m" min:"1ms" jsonschema_description:"... and at least this long after it was last seen."`
	BackoffMin      duration `yaml:"backoff_min" jsonschema:"default=30s" min:"1ms" jsonschema_description:"The first pause for a host that failed us; it doubles with each failure."`
	BackoffMax      duration `yaml:"backoff_max" jsonschema:"default=1h" min:"1ms" jsonschema_description:"The longest pause for a host."`
	BreakerFailures integer  `yaml:"breaker_failures" jsonschema:"minimum=1,maximum=1000,default=5" jsonschema_description:"So many failed writes ..."`
	BreakerWindow   duration `yaml:"breaker_window" jsonschema:"default=10m" min:"1ms" jsonschema_description:"... within this time stop all growth ..."`
	BreakerCooldown duration `yaml:"breaker_cooldown" jsonschema:"default=15m" min:"1ms" jsonschema_description:"... for so long."`
	BreakerNeverUp  integer  `yaml:"breaker_never_up" jsonschema:"minimum=1,maximum=1000,default=5" jsonschema_description:"So many machines in a row that were ordered and never ran stop all growth for breaker_cooldown."`
	PriceOutlier    number   `yaml:"price_outlier" jsonschema:"minimum=1.1,maximum=1000,default=3" jsonschema_description:"When the prices of at least half of all GPU models change by this factor between two looks, or a machine is charged dearer than it was sold by more than a quarter, growth stops for breaker_cooldown."`
	BillTolerance   number   `yaml:"bill_tolerance" jsonschema:"minimum=0,maximum=10,default=0.1" jsonschema_description:"The share by which the account's balance may fall faster than the books explain before it is reported."`
	BillStop        number   `yaml:"bill_stop" jsonschema:"minimum=0,maximum=10,default=0.3" jsonschema_description:"... and before growth stops, until the bill fits again."`
}

type fileLedger struct {
	at
	Retention duration `yaml:"retention" jsonschema:"default=720h" min:"1h" jsonschema_description:"How long cycle reports and prices are kept. Open intents are kept until they are settled."`
	MaxSize   size     `yaml:"max_size" jsonschema:"default=1GiB" min:"1MiB" jsonschema_description:"The oldest reports go when the ledger grows beyond this."`
}

type filePolicy struct {
	at
	Name          text             `yaml:"name" jsonschema:"required" jsonschema_description:"Unique; part of every machine's name. Letters and digits with single - _ or . between them."`
	Kind          text             `yaml:"kind" jsonschema:"enum=vm,enum=instant,enum=container,default=vm" jsonschema_description:"What is bought: vm is a machine of your size on a host; instant is a machine that waits ready-made, on demand, of its own size and image; container runs an image in replicas, each on an on-demand machine that the market chooses."`
	Capacity      text             `yaml:"capacity" jsonschema:"enum=spot,enum=on_demand,enum=spot_with_fallback" jsonschema_description:"spot is bid for and can be lost at any moment; on_demand costs more and stays, and is bought through TensorDock's v2 API where that sells it, else through v0; spot_with_fallback buys spot and covers with on-demand what spot cannot. Default: spot for kind vm, on_demand for the others."`
	Shadow        boolean          `yaml:"shadow" jsonschema:"default=false" jsonschema_description:"Decide, record and count what this policy would do beside the others, and never do it (kind vm): it asks the market nothing, holds no budget and owns no machine. Machines that it has already are left alone."`
	Priority      integer          `yaml:"priority" jsonschema:"minimum=-1000000,maximum=1000000,default=0" jsonschema_description:"Policies of higher priority are served first and shed last."`
	Fallback      fileFallback     `yaml:"fallback" jsonschema_description:"For capacity spot_with_fallback: when on-demand steps in, and when it goes."`
	Migrate       fileMigrate      `yaml:"migrate" jsonschema_description:"When a running spot machine is replaced by a cheaper one."`
	Surge         integer          `yaml:"surge" jsonschema:"minimum=0,maximum=1000,default=0" jsonschema_description:"Machines that may be ordered above the target, within the budget, in the place of lost ones whose deletion is not confirmed yet."`
	Target        fileTarget       `yaml:"target" jsonschema:"required" jsonschema_description:"How much is wanted: gpus, instances or replicas; a schedule, signals; or gpu_hours and by."`
	Match         fileMatch        `yaml:"match" jsonschema_description:"Which offers are taken. What is left out matches everything; names compare without regard to case."`
	Shape         fileShape        `yaml:"shape" jsonschema_description:"The size of one machine: its GPUs, and what it has at least of the rest."`
	MaxGPUHour    money            `yaml:"max_gpu_hour" jsonschema:"required,exclusiveMinimum=0" jsonschema_description:"The ceiling, in dollars per GPU per hour, all-in: GPU, vCPUs, RAM and storage of the machine divided by its GPUs."`
	Image         text             `yaml:"image" jsonschema_description:"Operating system. Default: Ubuntu 22.04 LTS. For kind container, the image to run, such as nginx:1.27, without default."`
	Ports         ports            `yaml:"ports" jsonschema:"minimum=1,maximum=65535" jsonschema_description:"Ports inside the machine or container to be opened. Default: 22; none for kind container."`
	SSHKey        text             `yaml:"ssh_key" jsonschema_description:"A public SSH key, in one line."`
	SSHKeyFile    text             `yaml:"ssh_key_file" jsonschema_description:"Path of a file with a public SSH key."`
	PasswordFile  text             `yaml:"password_file" jsonschema_description:"Path of a file with the machines' password."`
	CloudInit     text             `yaml:"cloud_init" jsonschema_description:"A cloud-init script that runs at the first boot."`
	CloudInitFile text             `yaml:"cloud_init_file" jsonschema_description:"Path of a file with a cloud-init script."`
	Bidding       fileBidding      `yaml:"bidding" jsonschema_description:"How bids on spot machines are found. Nothing of it needs to be set."`
	Spread        fileSpread       `yaml:"spread" jsonschema_description:"How many machines may stand together."`
	Budget        filePolicyBudget `yaml:"budget" jsonschema_description:"Caps on this policy, within the global ones."`
	ScaleDown     text             `yaml:"scale_down" jsonschema:"enum=delete,enum=stop,enum=release,default=delete" jsonschema_description:"What becomes of on-demand machines beyond the target: delete; stop, which keeps GPUs and bill; release, which keeps and bills the disk alone. A stopped machine is started again before another is bought. Spot machines are deleted in any case."`
	Resize        text             `yaml:"resize" jsonschema:"enum=auto,enum=keep,default=auto" jsonschema_description:"When shape asks for more vCPUs, RAM or storage than a machine was ordered with: auto resizes it where v2 can (on demand; it is stopped for that and keeps its disk), and else replaces it, one at a time and within limits.max_churn_per_hour; keep leaves it as it is."`
	StoppedTTL    duration         `yaml:"stopped_ttl" jsonschema:"default=72h" jsonschema_description:"How long a machine stopped by scale_down is kept before it is deleted; 0s is for ever."`
	Cooldown      duration         `yaml:"cooldown" jsonschema:"default=0s" jsonschema_description:"The least time between two voluntary changes of this policy."`
	MinLifetime   duration         `yaml:"min_lifetime" jsonschema:"default=0s" jsonschema_description:"Younger machines are not removed voluntarily."`
	BootTimeout   duration         `yaml:"boot_timeout" jsonschema:"default=20m" min:"1ms" jsonschema_description:"A machine that does not run after this time is deleted and its host avoided."`
	Ready         fileReady        `yaml:"ready" jsonschema_description:"What a machine must pass before it counts as delivered. Without it, to run is enough."`
	OnReady       fileHook         `yaml:"on_ready" jsonschema_description:"Whom to call when a machine is ready."`
	Drain         fileDrain        `yaml:"drain" jsonschema_description:"Whom to call, and how long to wait, before a running machine is given up that need not go at once."`
	Protected     texts            `yaml:"protected" jsonschema_description:"Names of machines that are never removed voluntarily."`
	Container     fileContainer    `yaml:"container" jsonschema_description:"For kind container: what its replicas get beside image, shape and ports."`
	Labels        labels           `yaml:"labels" jsonschema_description:"Your own names and values, shown by explain and kept in the ledger's cycle reports."`
}

type fileContainer struct {
	at
	Registry  text   `yaml:"registry" jsonschema:"enum=public,enum=private,default=public" jsonschema_description:"Whether the image's registry needs a login, which is stored in your TensorDock account."`
	ProjectID text   `yaml:"project_id" jsonschema_description:"Id of a project of your TensorDock account."`
	Env       labels `yaml:"env" jsonschema_description:"Environment variables, names and values. Nothing secret: this file is readable."`
	EnvFiles  labels `yaml:"env_files" jsonschema_description:"Environment variables whose values are in files: names and paths. The last line break of a file is dropped."`
	Arguments texts  `yaml:"arguments" jsonschema_description:"Arguments of the container's command."`
	Volumes   texts  `yaml:"volumes" jsonschema_description:"Paths inside the container that are kept on its disk."`
}

type fileFallback struct {
	at
	After      duration `yaml:"after" jsonschema:"default=0s" jsonschema_description:"How long spot must fall short before on-demand is ordered."`
	MaxPremium number   `yaml:"max_premium" jsonschema:"minimum=0,maximum=100,default=0" jsonschema_description:"The share by which an on-demand machine may cost more than max_gpu_hour: 0.5 allows half as much again. 0 allows nothing above it."`
	Settle     duration `yaml:"settle" jsonschema:"default=0s" jsonschema_description:"How long a host whose last offer was gone within half an hour must offer its GPUs again before running on-demand is given up for it. 0s costs least; 15m interrupts about a sixth less."`
}

type fileMigrate struct {
	at
	MaxPerHour integer  `yaml:"max_per_hour" jsonschema:"minimum=0,maximum=100,default=0" jsonschema_description:"Moves of this policy in an hour; 0 never moves. Until the new machine runs it stands beside the target."`
	MinSaving  number   `yaml:"min_saving" jsonschema:"minimum=0,maximum=1,default=0.1" jsonschema_description:"The least share of its price that a move must save, losses counted."`
	Payback    duration `yaml:"payback" jsonschema:"default=1h" min:"1m" jsonschema_description:"What a move saves in this time must be twice what the other boot costs."`
}

type fileTarget struct {
	at
	GPUs      integer `yaml:"gpus" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"GPUs in all; a multiple of shape.gpus."`
	Instances integer `yaml:"instances" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"Machines in all."`
	Replicas  integer `yaml:"replicas" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"Replicas of the container in all, for kind container."`
	GPUHours  integer `yaml:"gpu_hours" jsonschema:"minimum=1,maximum=1000000" jsonschema_description:"Hours of one GPU to be delivered in all, by the time that by names. gpus is then the most at once; without it, what would do in a day."`
	By        moment  `yaml:"by" jsonschema_description:"When gpu_hours are to be delivered: a time such as 2027-01-31T18:00:00Z."`

	Min      integer      `yaml:"min" jsonschema:"minimum=0,maximum=100000,default=0" jsonschema_description:"The least that schedule and signals can set the target to, in the unit that the target counts in: gpus, unless instances or replicas is written."`
	Max      integer      `yaml:"max" jsonschema:"minimum=0,maximum=100000" jsonschema_description:"The most that a schedule, a signal or tdscaler target set can ever set the target to, in the same unit; required with signals. Default: the greatest number written."`
	Schedule []fileWindow `yaml:"schedule" jsonschema_description:"Windows of time and what is wanted in them. Where they overlap the most counts, and outside of them what else the target names, or nothing."`
	Signals  []fileSignal `yaml:"signals" jsonschema_description:"Numbers that the target follows. Of numbers, windows and signals the most counts."`
}

type fileMatch struct {
	at
	GPUModels   texts    `yaml:"gpu_models" jsonschema_description:"The marketplace's names, such as geforcertx4090-pcie-24gb; * and ? are wildcards."`
	Countries   texts    `yaml:"countries" jsonschema_description:"Names or two-letter codes."`
	Regions     texts    `yaml:"regions" jsonschema_description:"States or provinces."`
	Cities      texts    `yaml:"cities" jsonschema_description:"Cities."`
	Hosts       texts    `yaml:"hosts" jsonschema_description:"Ids of hosts; * and ? are wildcards."`
	MinVRAM     integer  `yaml:"min_vram_gb" jsonschema:"minimum=0,maximum=10000,default=0" jsonschema_description:"The least memory of one GPU in GB. A GPU whose memory is not known does not match."`
	MinUptime   number   `yaml:"min_uptime" jsonschema:"minimum=0,maximum=1,default=0" jsonschema_description:"The least uptime of a host as a fraction: 0.99 is 99 %. A host whose uptime is not known does not match."`
	PreferOrder boolean  `yaml:"prefer_order" jsonschema:"default=false" jsonschema_description:"Take GPU models in the order written before looking at the price; otherwise the cheapest of all."`
	Deny        fileDeny `yaml:"deny" jsonschema_description:"What is never taken; wins over every match."`
}

type fileDeny struct {
	at
	GPUModels texts `yaml:"gpu_models" jsonschema_description:"GPU models never taken; * and ? are wildcards."`
	Countries texts `yaml:"countries" jsonschema_description:"Countries never taken."`
	Regions   texts `yaml:"regions" jsonschema_description:"States or provinces never taken."`
	Cities    texts `yaml:"cities" jsonschema_description:"Cities never taken."`
	Hosts     texts `yaml:"hosts" jsonschema_description:"Hosts never taken; * and ? are wildcards."`
}

type fileShape struct {
	at
	GPUs    integer `yaml:"gpus" jsonschema:"minimum=1,maximum=64,default=1" jsonschema_description:"GPUs per machine."`
	VCPUs   integer `yaml:"vcpus" jsonschema:"minimum=2,maximum=1024" jsonschema_description:"The least vCPUs of a machine. Default: 4 per GPU."`
	RAM     integer `yaml:"ram_gb" jsonschema:"minimum=1,maximum=16384" jsonschema_description:"The least GB of memory of a machine. Default: 16 per GPU."`
	Storage integer `yaml:"storage_gb" jsonschema:"minimum=1,maximum=65536,default=100" jsonschema_description:"The least GB of disk of a machine; billed even while outbid."`
}

type fileBidding struct {
	at
	Strategy text   `yaml:"strategy" jsonschema:"enum=discover,enum=fixed,enum=fraction,default=discover" jsonschema_description:"discover asks the market for the lowest bid that wins and adds a margin that it has learnt; fixed bids price everywhere; fraction bids a share of each host's on-demand price. None of them goes above the ceiling."`
	Price    money  `yaml:"price" jsonschema:"exclusiveMinimum=0" jsonschema_description:"For strategy fixed: dollars per GPU-hour, without storage."`
	Fraction number `yaml:"fraction" jsonschema:"exclusiveMinimum=0,maximum=1,default=0.6" jsonschema_description:"For strategy fraction: the share of the on-demand price of GPU, vCPUs and RAM."`
	Margin   number `yaml:"margin" jsonschema:"minimum=0,maximum=1" jsonschema_description:"For strategy discover: what is added to the lowest bid that wins, as a share of it. Without it, the margin is learnt from how far and how often prices rose; better leave it out."`
	MaxStep  number `yaml:"max_step" jsonschema:"minimum=0,maximum=0.9,default=0.2" jsonschema_description:"For strategy discover: the greatest share by which the bid of a running machine is lowered within ten minutes. 0 lowers none."`
}

type fileSpread struct {
	at
	PerHost  share  `yaml:"per_host" jsonschema_description:"The most machines on one host: a percentage of the target, such as 50%, or a number of machines. One is always allowed. Without it there is no bound."`
	PerPlace share  `yaml:"per_place" jsonschema_description:"The most machines in one city."`
	PerGroup share  `yaml:"per_group" jsonschema_description:"The most machines on hosts that look like one owner's: the same place, CPU, and prices of vCPU, RAM and storage."`
	MaxShare number `yaml:"max_share" jsonschema:"exclusiveMinimum=0,maximum=1" jsonschema_description:"The older way to write per_host: 0.5 is 50%."`
}

type filePolicyBudget struct {
	at
	MaxHourly  money `yaml:"max_hourly" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most that this policy's machines may cost per hour, in dollars per hour, storage included."`
	MaxDaily   money `yaml:"max_daily" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most this policy may spend in a day, in dollars. Its machines are deleted in time to stay below it."`
	MaxMonthly money `yaml:"max_monthly" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most this policy may spend in a calendar month, in dollars. Its machines are deleted in time to stay below it."`
	MaxTotal   money `yaml:"max_total" jsonschema:"exclusiveMinimum=0" jsonschema_description:"The most this policy may ever spend, in dollars, counted over all restarts and reloads. Its machines are deleted in time to stay below it."`
}
