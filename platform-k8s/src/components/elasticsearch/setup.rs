//! What a Job writes into Elasticsearch once it answers: index templates, accounts.

use super::{INGESTER_USER, KIBANA_USER, LOGSTASH_USER};
use crate::components::frame::Configuration;
use platform_core::{
    Result,
    telemetry::document::{Features, Signal, data_stream, index_template, template_name},
};
use serde_json::json;
use std::{fmt::Write as _, time::Duration};

/// Where the Job has its files.
pub(super) const FILES: &str = "/etc/platform-setup";

/// The role of who writes documents.
const WRITER: &str = "platform_writer";
/// The role of who brings along where documents go, too.
const INGESTER: &str = "platform_ingester";

/// Talks to the server with the password and the certificate of the environment. A password is given by a file and not by an argument,
/// which others could see.
pub(crate) const CLIENT: &str = r#"
quoted() { local text=${1//\\/\\\\}; printf '%s' "${text//\"/\\\"}"; }
if [ -n "${ELASTIC_PASSWORD:-}" ]; then
  (umask 077; printf 'user = "elastic:%s"\n' "$(quoted "$ELASTIC_PASSWORD")" >/tmp/curl)
else
  : >/tmp/curl
fi
# call METHOD ADDRESS [curl's options]: prints the status; the answer is in /tmp/answer.
call() {
  local method=$1 address=$2
  shift 2
  curl --config /tmp/curl ${CERTIFICATE:+--cacert "$CERTIFICATE"} --silent --show-error --max-time 60 \
    --request "$method" --output /tmp/answer --write-out '%{http_code}' "$@" "$address"
}
# must METHOD ADDRESS [curl's options]: ends the Job unless the answer is one of success.
must() {
  local status
  status=$(call "$@") || status=none
  case $status in
  2*) echo "$1 $2: $status" ;;
  *) echo "$1 $2: $status"; cat /tmp/answer 2>/dev/null; exit 1 ;;
  esac
}
"#;

/// The script and what it sends.
pub(super) fn files(name: &str, retention: Duration, security: bool) -> Result<Configuration> {
    let mut files = Configuration::new(name).text("setup.sh", script(security));
    for signal in Signal::ALL {
        for (variant, features) in [("full", Features::ALL), ("plain", Features::PLAIN)] {
            let file = format!("{}.{variant}.json", template_name(signal));
            files = files.json(file, &index_template(signal, features, retention))?;
        }
    }
    if security {
        let streams = Signal::ALL.map(|signal| data_stream(signal, "*"));
        let role = json!({
            "cluster": ["monitor"],
            // It adds documents and can neither read, change nor delete any.
            "indices": [{"names": streams, "privileges": ["auto_configure", "create_doc"]}],
        });
        files = files.json("role.json", &role)?;
        let ingester = json!({
            "cluster": ["manage_index_templates", "monitor"],
            // It makes streams and indexes, and drops those that are too old; it changes no document.
            "indices": [{"names": streams, "privileges": ["auto_configure", "create_doc", "manage"]}],
        });
        files = files.json("ingester.json", &ingester)?;
    }
    Ok(files)
}

fn script(security: bool) -> String {
    let mut script = format!("set -eu\n{CLIENT}\n");
    script.push_str(
        "# The pod that runs this may be there before the server answers; the Job tries again.\n\
         must GET \"$ELASTICSEARCH_URL/_cluster/health?wait_for_status=yellow&timeout=50s\"\n\
         json='Content-Type: application/json'\n\
         # template NAME: with all field types where the server knows them, which a simulation tells.\n\
         template() {\n  \
           local variant=full\n  \
           case $(call POST \"$ELASTICSEARCH_URL/_index_template/_simulate\" --header \"$json\" --data-binary \"@$files/$1.full.json\") in\n  \
           200) ;;\n  \
           400) variant=plain ;;\n  \
           *) cat /tmp/answer; exit 1 ;;\n  \
           esac\n  \
           must PUT \"$ELASTICSEARCH_URL/_index_template/$1\" --header \"$json\" --data-binary \"@$files/$1.$variant.json\"\n\
         }\n",
    );
    let _ = writeln!(script, "files=${{FILES:-{FILES}}}");
    for signal in Signal::ALL {
        let _ = writeln!(script, "template {}", template_name(signal));
    }
    if security {
        let _ = write!(
            script,
            "must PUT \"$ELASTICSEARCH_URL/_security/role/{WRITER}\" --header \"$json\" --data-binary \"@$files/role.json\"\n\
             printf '{{\"password\": \"%s\", \"roles\": [\"{WRITER}\"]}}' \"$(quoted \"$LOGSTASH_PASSWORD\")\" |\n  \
               must PUT \"$ELASTICSEARCH_URL/_security/user/{LOGSTASH_USER}\" --header \"$json\" --data-binary @-\n\
             printf '{{\"password\": \"%s\"}}' \"$(quoted \"$KIBANA_PASSWORD\")\" |\n  \
               must POST \"$ELASTICSEARCH_URL/_security/user/{KIBANA_USER}/_password\" --header \"$json\" --data-binary @-\n\
             if [ -n \"${{INGESTER_PASSWORD:-}}\" ]; then\n  \
               must PUT \"$ELASTICSEARCH_URL/_security/role/{INGESTER}\" --header \"$json\" --data-binary \"@$files/ingester.json\"\n  \
               printf '{{\"password\": \"%s\", \"roles\": [\"{INGESTER}\"]}}' \"$(quoted \"$INGESTER_PASSWORD\")\" |\n    \
                 must PUT \"$ELASTICSEARCH_URL/_security/user/{INGESTER_USER}\" --header \"$json\" --data-binary @-\n\
             fi\n"
        );
    }
    script
}
