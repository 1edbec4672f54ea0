//! From decisions to HTTP.

use crate::ems::office::Denial;
use axum::Json;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use posture::ems::protocol::RefusalCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

impl IntoResponse for Denial {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(self.reply())).into_response()
    }
}

/// Reads a body.
pub(super) fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Denial> {
    serde_json::from_slice(body).map_err(Denial::from)
}

/// Writes a body off the runtime's threads' way: what cannot be written is EMS's own failure.
pub(super) fn write<T: Serialize>(outcome: Result<T, Denial>) -> Response {
    match outcome.map(|value| serde_json::to_value(value)) {
        Ok(Ok(value)) => Json(value).into_response(),
        Ok(Err(error)) => Denial::new(RefusalCode::ServerFailed, error.to_string()).into_response(),
        Err(denial) => denial.into_response(),
    }
}
