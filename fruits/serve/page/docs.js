// The page of the API: what openapi.json says, for people.

const find = (id) => document.getElementById(id);

function element(name, style = "", ...inside) {
  const made = document.createElement(name);
  if (style) made.className = style;
  made.append(...inside);
  return made;
}

function table(rows) {
  const body = element("tbody", "", ...rows.map(([name, text]) =>
    element("tr", "", element("td", "", element("code", "", name)), element("td", "", text))));
  return element("table", "", body);
}

function part(title, rows) {
  return rows.length ? [element("h3", "", title), table(rows)] : [];
}

function schemaOf(description, schemas) {
  const reference = description?.content?.["application/json"]?.schema?.$ref;
  return reference ? schemas[reference.split("/").pop()] : null;
}

function kind(schema) {
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.anyOf) return schema.anyOf.filter((one) => one.type !== "null").map(kind).join(" or ");
  return schema.type === "array" ? `list of ${kind(schema.items)}` : schema.type ?? "any";
}

function fields(schema) {
  return Object.entries(schema?.properties ?? {}).map(([name, one]) =>
    [name, [kind(one), one.description].filter(Boolean).join(": ")]);
}

function operation(path, verb, said, schemas) {
  const good = said.responses["200"];
  const summary = element("summary", "", element("span", "verb", verb.toUpperCase()), element("code", "", path),
    element("span", "note", said.description ?? said.summary));
  const options = (said.parameters ?? []).map((one) => [one.name, one.description ?? ""]);
  const bodies = Object.keys(said.requestBody?.content ?? {}).map((type) => [type, type.startsWith("multipart")
    ? "files: one or more photographs; keep: true, if the sender agrees that they are stored" : type === "application/json" ? "" : "one photograph"]);
  const statuses = Object.entries(said.responses).map(([status, one]) => [status, one.description || ""]);
  const inside = element("div", "inside", ...part("Options", options), ...part("Body", bodies),
    ...part("Answer", fields(schemaOf(good, schemas))), ...part("Status", statuses));
  return element("details", "", summary, inside);
}

async function start() {
  const origin = location.href.replace(/docs[^/]*$/, "");
  find("example").textContent = [
    `curl -F files=@apple.jpg -F files=@pear.jpg ${origin}predict`,
    `curl --data-binary @apple.jpg ${origin}predict`,
  ].join("\n");
  const described = await (await fetch("openapi.json")).json();
  const groups = new Map();
  for (const [path, verbs] of Object.entries(described.paths)) {
    for (const [verb, said] of Object.entries(verbs)) {
      const tag = said.tags?.[0] ?? "";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(path, verb, said, described.components.schemas)]);
    }
  }
  for (const [tag, operations] of groups) find("paths").append(element("h2", "", tag), ...operations);
  find("paths").removeAttribute("aria-busy");
}

start();
