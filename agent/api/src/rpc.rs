//! The JSON-RPC 2.0 envelope, one object a line.
//!
//! Lines are bounded ([`MAXIMUM_LINE`]); unknown members are ignored, unknown methods refused by
//! name. The error object carries a [`Fault`] in `data`.

use crate::fault::Fault;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The protocol's name in `hello`.
pub const PROTOCOL: &str = "postern-control";
/// The protocol's version; a service refuses a client of another one.
pub const PROTOCOL_VERSION: u32 = 1;
/// The longest line that is read, in bytes.
pub const MAXIMUM_LINE: usize = 1 << 20;

/// JSON-RPC error code of a request whose method is not known.
pub const CODE_METHOD_UNKNOWN: i64 = -32601;
/// JSON-RPC error code of a request whose parameters do not fit.
pub const CODE_PARAMETERS_INVALID: i64 = -32602;
/// JSON-RPC error code of a line that is not a request.
pub const CODE_REQUEST_INVALID: i64 = -32600;
/// JSON-RPC error code of every failure that has a [`Fault`].
pub const CODE_FAULT: i64 = -32000;

/// A request, or (without `id`) a notification.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Always `"2.0"`.
    pub jsonrpc: String,
    /// Number of the request; none for a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// Name of the method.
    pub method: String,
    /// Parameters, an object.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub params: Value,
}

/// A notification that is written and never read: what it borrows is copied into nothing but the line.
#[derive(Debug, Serialize)]
pub struct Notification<'a, T> {
    /// Always `"2.0"`.
    jsonrpc: &'static str,
    /// Name of what is notified.
    method: &'static str,
    /// Parameters, an object.
    params: &'a T,
}

impl<'a, T: Serialize> Notification<'a, T> {
    /// Makes a notification.
    pub const fn new(method: &'static str, params: &'a T) -> Self {
        Self { jsonrpc: "2.0", method, params }
    }
}

/// The answer to one request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Response {
    /// Always `"2.0"`.
    pub jsonrpc: String,
    /// Number of the request.
    pub id: Option<u64>,
    /// The result, when it went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<Value>,
    /// The error, when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorObject>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ErrorObject {
    /// One of the `CODE_` constants.
    pub code: i64,
    /// The fault in one line.
    pub message: String,
    /// The fault itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Fault>,
}

impl Request {
    /// Makes a request.
    pub fn call(id: u64, method: &str, params: Value) -> Self {
        Self { jsonrpc: "2.0".into(), id: Some(id), method: method.into(), params }
    }

    /// Makes a notification.
    pub fn notification(method: &str, params: Value) -> Self {
        Self { jsonrpc: "2.0".into(), id: None, method: method.into(), params }
    }
}

impl Response {
    /// Makes the answer of a request that went well.
    pub fn success(id: u64, result: Value) -> Self {
        Self { jsonrpc: "2.0".into(), id: Some(id), result: Some(result), error: None }
    }

    /// Makes the answer of a request that failed.
    pub fn failure(id: Option<u64>, code: i64, fault: Fault) -> Self {
        let error = ErrorObject { code, message: fault.to_string(), data: Some(fault) };
        Self { jsonrpc: "2.0".into(), id, result: None, error: Some(error) }
    }
}
