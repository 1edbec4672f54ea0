//! What crosses Postern's control socket.
//!
//! One JSON-RPC 2.0 object a line, in both directions. A client opens the socket, sends
//! [`method::Hello`] as its first request and may then call any [`method::Method`] its role
//! allows; the service answers each request once and, after `subscribe`, sends
//! [`event::Event`]s as notifications. While a `connect` is under way the service may send
//! [`prompt::Prompt`]s to the connection that asked, and takes `prompt.answer` in return.
//!
//! | module | holds |
//! |---|---|
//! | [`rpc`] | the JSON-RPC envelope and the protocol version |
//! | [`method`] | the table of methods, their roles, parameters and results |
//! | [`state`] | states of a connection and the status document |
//! | [`posture`] | tags, facts, scan results as a person reads them |
//! | [`fault`] | the stable error names, their exit codes and their one-line form |
//! | [`health`] | how the service stands, for `postern doctor` |
//! | [`event`] | what the service tells without being asked |
//! | [`prompt`] | what the service asks a person |
//! | [`text`] | text that came from outside and is never obeyed |
//!
//! Nothing here touches a socket or a clock: serde types only.
#![forbid(unsafe_code)]

pub mod event;
pub mod fault;
pub mod health;
pub mod method;
pub mod posture;
pub mod prompt;
pub mod rpc;
pub mod state;
pub mod text;

pub use event::Event;
pub use fault::{Fault, FaultName};
pub use prompt::{Prompt, PromptKind};
pub use state::{ConnectionState, Status};
pub use text::PlainText;
