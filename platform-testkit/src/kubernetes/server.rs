//! The embedded cluster as its users start, address and stop it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::auth::token::KeyError;
use super::auth::{TokenAuthenticator, Tokens, aggregation};
use super::bootstrap;
use super::controllers::{self, Behaviour};
use super::error::ApiError;
use super::faults::Faults;
use super::garbage;
use super::http::{Connection, GIT_VERSION, Listener, Server, router};
use super::journal::{DataError, Journal};
use super::requests::{RequestCounts, Requests};
use super::state::State;
use super::store::Store;

/// How long open requests get to end when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// A running embedded cluster.
///
/// Dropping it stops it in the background; [`EmbeddedApi::stop`] also waits until it has, which is what a caller needs
/// who starts another one on the same data directory.
pub struct EmbeddedApi {
    name: String,
    address: SocketAddr,
    server: Arc<Server>,
    tasks: JoinSet<()>,
}

/// Why an embedded cluster did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its data directory cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// There is no socket for it.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] std::io::Error),
    /// The objects that every cluster has could not be created.
    #[error("cannot set up the cluster: {0}")]
    Furnish(#[source] ApiError),
}

/// What an embedded cluster is to be like.
#[derive(Debug, Clone)]
pub struct EmbeddedApiBuilder {
    name: String,
    nodes: usize,
    behaviour: Behaviour,
    data_dir: Option<PathBuf>,
    authenticator: Option<Arc<dyn TokenAuthenticator>>,
    needs_credentials: bool,
}

impl EmbeddedApiBuilder {
    /// The cluster's name, as its kubeconfig gives it. The default is `embedded`.
    #[must_use]
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// How many nodes the cluster has. The default is 1.
    #[must_use]
    pub fn nodes(self, nodes: usize) -> Self {
        Self { nodes, ..self }
    }

    /// How the containers of its pods behave. By default they get ready at once.
    #[must_use]
    pub fn behaviour(self, behaviour: Behaviour) -> Self {
        Self { behaviour, ..self }
    }

    /// Where the cluster's content is kept from one run to the next. The default, `None`, keeps nothing.
    #[must_use]
    pub fn data_dir(self, directory: Option<PathBuf>) -> Self {
        Self { data_dir: directory, ..self }
    }

    /// Who vouches for bearer tokens that are not of the cluster's own service accounts, as kube-apiserver's webhook of authentication does. By default
    /// they are refused.
    #[must_use]
    pub fn authenticator(self, authenticator: Arc<dyn TokenAuthenticator>) -> Self {
        Self { authenticator: Some(authenticator), ..self }
    }

    /// Lets a request without credentials be nobody's, who may do next to nothing, as on other clusters. By default it is the administrator's. Then an
    /// [`authenticator`](Self::authenticator) must know an administrator, and [the kubeconfig](EmbeddedApi::kubeconfig) is of no use.
    #[must_use]
    pub fn needs_credentials(self) -> Self {
        Self { needs_credentials: true, ..self }
    }

    /// Starts the cluster on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// [`StartError::Data`] when the data directory is in use, damaged or not a cluster's; [`StartError::Listen`]
    /// when there is no port.
    pub async fn start(self) -> Result<EmbeddedApi, StartError> {
        let (journal, state) = match &self.data_dir {
            Some(directory) => {
                let (journal, state) = Journal::open(directory)?;
                (Some(journal), state)
            }
            None => (None, State::new(0)),
        };
        let tokens = Tokens::open(self.data_dir.as_deref()).map_err(|error| match error {
            KeyError::Data(error) => StartError::Data(error),
            KeyError::Random(error) => StartError::Furnish(error),
        })?;
        let store = Store::open(state, journal);
        bootstrap::furnish(&store, self.nodes).map_err(StartError::Furnish)?;
        store.durable(store.revision()).await.map_err(StartError::Furnish)?;
        store.begin_history();
        let socket = TcpListener::bind(("127.0.0.1", 0)).await.map_err(StartError::Listen)?;
        let address = socket.local_addr().map_err(StartError::Listen)?;
        let shutdown = CancellationToken::new();
        let server = Arc::new(Server {
            store: store.clone(),
            tokens,
            authenticator: self.authenticator,
            needs_credentials: self.needs_credentials,
            faults: Faults::default(),
            requests: Requests::default(),
            shutdown: shutdown.clone(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(aggregation::run(store.clone(), shutdown.clone()));
        tasks.spawn(garbage::run(store.clone(), shutdown.clone()));
        tasks.spawn(controllers::run(store, Arc::new(self.behaviour), shutdown.clone()));
        let service = router(server.clone()).into_make_service_with_connect_info::<Connection>();
        tasks.spawn(async move {
            let serving =
                axum::serve(Listener(socket), service).with_graceful_shutdown(shutdown.cancelled_owned());
            if let Err(error) = serving.await {
                tracing::error!(%error, "the embedded API server ended");
            }
        });
        tracing::info!(name = self.name, %address, "the embedded cluster is up");
        Ok(EmbeddedApi { name: self.name, address, server, tasks })
    }
}

impl EmbeddedApi {
    /// The version that its API server reports.
    pub const VERSION: &str = GIT_VERSION;

    /// A cluster to configure and start.
    pub fn builder() -> EmbeddedApiBuilder {
        EmbeddedApiBuilder {
            name: "embedded".to_owned(),
            nodes: 1,
            behaviour: Behaviour::default(),
            data_dir: None,
            authenticator: None,
            needs_credentials: false,
        }
    }

    /// The cluster's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the API is served, such as `http://127.0.0.1:40123`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A kubeconfig for kubectl and every other client. It needs no credentials: requests without any are those of the
    /// administrator. Others show a token of a service account (from its subresource `token`) or are impersonated;
    /// kubectl shows tokens to servers with TLS alone, so with it `--as` is the way.
    pub fn kubeconfig(&self) -> String {
        let (name, url) = (serde_json::json!(self.name), self.url());
        format!(
            "apiVersion: v1\nkind: Config\nclusters:\n- name: {name}\n  cluster:\n    server: {url}\nusers:\n\
             - name: {name}\n  user: {{}}\ncontexts:\n- name: {name}\n  context:\n    cluster: {name}\n    \
             user: {name}\ncurrent-context: {name}\n"
        )
    }

    /// The cluster's objects, for tests and controllers in this process.
    pub fn store(&self) -> &Arc<Store> {
        &self.server.store
    }

    /// Makes the cluster have this many nodes. A node that goes takes its pods with it; their owners make new ones elsewhere.
    pub fn set_nodes(&self, nodes: usize) -> Result<(), ApiError> {
        bootstrap::resize(self.store(), nodes)
    }

    /// Makes requests fail, wait or lose their connection.
    pub fn faults(&self) -> &Faults {
        &self.server.faults
    }

    /// How many requests were taken, by verb.
    pub fn requests(&self) -> RequestCounts {
        self.server.requests.counts()
    }

    /// Ends open requests, stops every task and writes what is left to the data directory.
    pub async fn stop(mut self) {
        self.server.shutdown.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            // Idle keep-alive connections do not end by themselves.
            self.tasks.shutdown().await;
        }
        let store = self.server.store.clone();
        if tokio::task::spawn_blocking(move || store.close()).await.is_err() {
            tracing::error!("the embedded cluster's data could not be closed");
        }
    }
}

impl Drop for EmbeddedApi {
    fn drop(&mut self) {
        self.server.shutdown.cancel();
    }
}
