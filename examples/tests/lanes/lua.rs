//! The script that the catalogue renders, run by a real Lua.

use serde_json::Value;
use std::process::Command;

/// A message for Kafka.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) key: String,
    pub(crate) document: Value,
}

/// Calls a function of the script for each record, with its time in seconds and nanoseconds, and answers with the messages of each call.
pub(crate) fn run(script: &str, function: &str, records: &[((i64, u32), String)]) -> Vec<Vec<Message>> {
    let program = std::env::var_os("PLATFORM_LUA").expect("PLATFORM_LUA names a LuaJIT");
    let folder = tempfile::tempdir().unwrap();
    let mut driver = script.to_owned();
    driver.push_str(
        "\nlocal function show(code, _, records)\n  if code ~= -1 then\n    if records.message then records = { records } end\n    \
         for _, r in ipairs(records) do print(r.topic .. '\\t' .. r.key .. '\\t' .. r.message) end\n  end\n  print('---')\nend\n",
    );
    for ((seconds, nanos), record) in records {
        let time = format!("{{ sec = {seconds}, nsec = {nanos} }}");
        driver.extend(["show(", function, "('tag', ", &time, ", ", record, "))\n"]);
    }
    let file = folder.path().join("driver.lua");
    std::fs::write(&file, driver).unwrap();
    let output = Command::new(program)
        .arg(file)
        .envs([("NODE_NAME", "node-1"), ("POD_NAME", "fluent-bit-x")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut calls = Vec::new();
    let mut messages = Vec::new();
    for line in text.lines() {
        if line == "---" {
            calls.push(std::mem::take(&mut messages));
            continue;
        }
        let parts: Vec<&str> = line.splitn(3, '\t').collect();
        messages.push(Message {
            topic: parts[0].to_owned(),
            key: parts[1].to_owned(),
            document: serde_json::from_str(parts[2]).unwrap(),
        });
    }
    assert_eq!(calls.len(), records.len());
    calls
}

/// Bytes as Lua writes them.
pub(crate) fn text(bytes: &[u8]) -> String {
    bytes.iter().fold("\"".to_owned(), |text, byte| text + &format!("\\{byte:03}")) + "\""
}

/// A value as Lua writes it.
pub(crate) fn value(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::String(string) => text(string.as_bytes()),
        Value::Array(items) => {
            format!("{{{}}}", items.iter().map(self::value).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<String> = fields
                .iter()
                .map(|(name, field)| format!("[{}] = {}", text(name.as_bytes()), self::value(field)))
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
