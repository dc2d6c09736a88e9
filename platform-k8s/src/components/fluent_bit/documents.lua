
-- How many of a line's words are looked through for a severity.
local FIRST_WORDS = 8

local floor, format = math.floor, string.format

-- Bytes that are no UTF-8 become U+FFFD, one for each broken character: JSON has no others.
local function utf8(text)
  if not text:find("[\128-\255]") then return text end
  local parts, at, length = {}, 1, #text
  while at <= length do
    local plain = text:match("^[%z\1-\127]+", at)
    local whole = plain
      or text:match("^[\194-\223][\128-\191]", at)
      or text:match("^\224[\160-\191][\128-\191]", at)
      or text:match("^[\225-\236\238\239][\128-\191][\128-\191]", at)
      or text:match("^\237[\128-\159][\128-\191]", at)
      or text:match("^\240[\144-\191][\128-\191][\128-\191]", at)
      or text:match("^[\241-\243][\128-\191][\128-\191][\128-\191]", at)
      or text:match("^\244[\128-\143][\128-\191][\128-\191]", at)
    -- What begins like a character, as far as it does, is one that is broken.
    local broken = not whole
      and (text:match("^\224[\160-\191]", at)
        or text:match("^[\225-\236\238\239][\128-\191]", at)
        or text:match("^\237[\128-\159]", at)
        or text:match("^\240[\144-\191][\128-\191]?", at)
        or text:match("^[\241-\243][\128-\191][\128-\191]?", at)
        or text:match("^\244[\128-\143][\128-\191]?", at))
    parts[#parts + 1] = whole or "\239\191\189"
    at = at + #(whole or broken or "x")
  end
  return table.concat(parts)
end

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function quoted(text)
  return '"' .. utf8(text):gsub('[%c"\\]', function(c)
    return ESCAPES[c] or (c == "\127" and c) or format("\\u%04x", c:byte())
  end) .. '"'
end

-- Objects by their sorted keys: the same document is the same text.
local function json(value)
  if type(value) == "table" then
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys)
    for i, key in ipairs(keys) do parts[i] = quoted(key) .. ":" .. json(value[key]) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "number" then
    if value == floor(value) and value > -1e15 and value < 1e15 then return format("%d", value) end
    return format("%.17g", value)
  end
  return quoted(tostring(value))
end

local function stream(signal, environment)
  return { type = signal.type, dataset = signal.dataset, namespace = environment }
end

local function message(document, signal, environment, key)
  return { message = json(document), topic = environment .. signal.topic, key = key }
end

local function present(value)
  return type(value) == "string" and value ~= ""
end

-- What a program itself calls a severity.
local function named(value)
  if type(value) == "string" then return WORDS[value:lower()] end
  -- pino and bunyan: 10 is trace, 60 is fatal.
  if type(value) == "number" then return LEVELS[floor(value / 10)] end
end

local SYSLOG = { [0] = "fatal", "fatal", "fatal", "error", "warn", "info", "info", "debug" }
local KLOG = { I = "info", W = "warn", E = "error", F = "fatal" }

local MONTHS = {
  Jan = 1, Feb = 1, Mar = 1, Apr = 1, May = 1, Jun = 1, Jul = 1, Aug = 1, Sep = 1, Oct = 1, Nov = 1, Dec = 1,
}

-- What follows the time that a text begins with: RFC 3339 in its usual forms, or RFC 3164. A text without one is all that follows.
local function behind_time(text)
  local open = text:gsub("^%[", "", 1)
  local date = open:match("^%d%d%d%d[%-/]%d%d[%-/]%d%d[Tt ]%d%d:%d%d:%d%d")
  if date then
    local at = #date + 1
    at = at + #(open:match("^[%.,]%d+", at) or "")
    local zone = open:match("^[Zz]", at) or open:match("^[+-]%d%d:%d%d", at) or open:match("^[+-]%d%d%d%d", at)
    return open:sub(at + #(zone or ""))
  end
  if MONTHS[open:sub(1, 3)] and open:match("^%a%a%a [ %d]%d %d%d:%d%d:%d%d") then return open:sub(16) end
  return text
end

-- The severity of a line, by the rules of the platform's own agent.
local function severity(line, structured)
  if type(structured) == "table" then
    return named(structured.level) or named(structured.severity) or named(structured.lvl)
      or named(structured["log.level"]) or "info"
  end
  if line:sub(1, 1) == "{" then return "info" end
  local priority, rest = line:match("^<(%d+)>(.*)$")
  if priority and tonumber(priority) < 192 then
    priority, rest = SYSLOG[tonumber(priority) % 8], rest:gsub("^1 ", "", 1)
  else
    priority, rest = nil, line
  end
  local letter, month, day, hour, minute = rest:match("^([IWEF])(%d%d)(%d%d) (%d%d):(%d%d):%d%d")
  if letter and month >= "01" and month <= "12" and day >= "01" and day <= "31" and hour < "24" and minute < "60" then
    return KLOG[letter]
  end
  if priority then return priority end
  rest = behind_time(rest)
  local count = 0
  for word in rest:gmatch("%S+") do
    count = count + 1
    if count > FIRST_WORDS then break end
    local key, value = word:match("^(%a+)=(.*)$")
    if key == "level" or key == "lvl" or key == "severity" then
      return WORDS[value:gsub('^"+', ""):gsub('"+$', ""):lower()] or "info"
    end
  end
  count = 0
  for word in rest:gmatch("%a+") do
    count = count + 1
    if count > FIRST_WORDS then break end
    local found = WORDS[word:lower()]
    if found then return found end
  end
  return "info"
end

local function moment(timestamp)
  return os.date("!%Y-%m-%dT%H:%M:%S", timestamp.sec) .. format(".%03dZ", floor(timestamp.nsec / 1000000))
end

local function log(timestamp, line, structured, labels)
  local environment = labels.environment or OTHERWISE
  local level = severity(line, structured)
  local document = {
    ["@timestamp"] = moment(timestamp),
    body = { text = line },
    data_stream = stream(LOGS, environment),
    severity_number = NUMBERS[level],
    severity_text = level,
  }
  local resource, attributes
  for label, value in pairs(labels) do
    if RESOURCE[label] then
      resource = resource or {}
      resource[RESOURCE[label]] = value
    else
      attributes = attributes or {}
      attributes[LINE[label] or label] = value
    end
  end
  if resource then document.resource = { attributes = resource } end
  document.attributes = attributes
  if type(structured) == "table" then
    for field in pairs(TRACE) do
      if present(structured[field]) then document[field] = structured[field] end
    end
  end
  local key = CLUSTER .. "/" .. (labels.pod_uid or "") .. "/" .. (labels.container or "")
  return message(document, LOGS, environment, key)
end

-- A line of a container's log, with what the filter for Kubernetes knows of it.
function of_container(tag, timestamp, record)
  local line = record.log
  if type(line) ~= "string" then return -1, timestamp, record end
  local of_pod, of_namespace = record.kubernetes or {}, record.kubernetes_namespace or {}
  local namespace_labels, pod_labels = of_namespace.labels or {}, of_pod.labels or {}
  local labels = { cluster = CLUSTER, stream = record.stream }
  local function set(label, value) if present(value) then labels[label] = value end end
  set("environment", ENVIRONMENTS[namespace_labels[ENVIRONMENT_LABEL] or ""] or ENVIRONMENT)
  set("namespace", of_pod.namespace_name)
  set("pod", of_pod.pod_name)
  set("pod_uid", of_pod.pod_id)
  set("container", of_pod.container_name)
  set("node", of_pod.host)
  set("service", pod_labels[SERVICE_LABEL])
  return 1, timestamp, log(timestamp, (line:gsub("\r?\n?$", "", 1)), record.structured, labels)
end

local function sample(time, name, labels, value)
  -- JSON has no words for what is not a number or has no end.
  if not value or value ~= value or value == math.huge or value == -math.huge then return nil end
  local of_series = {}
  for label, text in pairs(labels) do of_series[label] = text end
  of_series[METRIC_NAME] = name
  local environment = labels.environment or OTHERWISE
  local document = {
    ["@timestamp"] = time,
    data_stream = stream(METRICS, environment),
    labels = of_series,
    metrics = { [name] = value },
  }
  local key = CLUSTER .. "/" .. (labels.job or "") .. "/" .. (labels.instance or "")
  return message(document, METRICS, environment, key)
end

-- `a="b",c="d` of a metric's line: values are not escaped, so one ends where the next name begins.
local function read_labels(text)
  local labels, at = {}, 1
  while at <= #text do
    local name, from = text:match('^([^="]+)="()', at)
    if not name then return nil end
    local last, following = text:find('",[%a_][^="{},]*="', from)
    local value = text:sub(from, last and last - 1 or #text)
    if value ~= "" then labels[name] = value end
    at = last and last + 2 or #text + 1
  end
  return labels
end

-- `0.5=1, 0.9=2`
local function read_pairs(text, add)
  for key, value in text:gmatch("([^=, ]+)=([^=, ]+)") do add(key, tonumber(value)) end
end

local function with(labels, name, value)
  local more = { [name] = value }
  for label, text in pairs(labels) do more[label] = text end
  return more
end

-- The environment that a namespace belongs to: its name is the environment's, or begins with it. Of two that begin alike, the longer one is meant.
local function of_namespace(namespace)
  local found
  for environment in pairs(ENVIRONMENTS) do
    local is_of = namespace == environment or (namespace or ""):sub(1, #environment + 1) == environment .. "-"
    if is_of and (not found or #environment > #found) then found = environment end
  end
  return found
end

-- `TIME NAME{LABELS} = VALUE`, as the output for the standard output writes a metric; nil for anything else.
local function read_metric(line)
  local day, fraction, rest = line:match("^(%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d)%.(%d+)Z (.+)$")
  if not day then return nil end
  local time = day .. "." .. (fraction .. "00"):sub(1, 3) .. "Z"
  local name, labels, value = rest:match('^([^{ ]+){(.*)"} = (.+)$')
  if not name then
    labels = ""
    name, value = rest:match("^([^{ ]+) = (.+)$")
  end
  labels = name and read_labels(labels)
  if not labels then return nil end
  labels.cluster, labels.environment = CLUSTER, ENVIRONMENT or of_namespace(labels.namespace)
  labels.instance = INSTANCES[labels.job or ""]
  local messages = {}
  local function add(...) messages[#messages + 1] = sample(time, ...) end
  local kind, inner, sum, count = value:match("^{ (%a+) = { (.-) }, sum=(%S+), count=(%d+) }$")
  if kind == "buckets" then
    read_pairs(inner, function(le, counted) add(name .. "_bucket", with(labels, "le", le), counted) end)
  elseif kind == "quantiles" then
    read_pairs(inner, function(quantile, at) add(name, with(labels, "quantile", quantile), at) end)
  else
    add(name, labels, tonumber(value))
  end
  if kind then
    add(name .. "_sum", labels, tonumber(sum))
    add(name .. "_count", labels, tonumber(count))
  end
  return messages
end

-- A line of Fluent Bit's own output: a metric that it scraped, or what it has to say.
function of_own_output(tag, timestamp, record)
  local line = record.log
  if type(line) ~= "string" then return -1, timestamp, record end
  line = line:gsub("\n$", "")
  local messages = record.stream == "stdout" and read_metric(line)
  if messages then
    if #messages == 0 then return -1, timestamp, record end
    return 1, timestamp, messages
  end
  local labels = {
    cluster = CLUSTER,
    container = os.getenv("CONTAINER_NAME"),
    environment = ENVIRONMENT,
    namespace = os.getenv("POD_NAMESPACE"),
    node = os.getenv("NODE_NAME"),
    pod = os.getenv("POD_NAME"),
    pod_uid = os.getenv("POD_UID"),
    service = os.getenv("SERVICE_NAME"),
    stream = record.stream,
  }
  return 1, timestamp, log(timestamp, line, nil, labels)
end
