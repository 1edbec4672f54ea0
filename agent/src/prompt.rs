//! Questions to people, from the engine's request to the answer.

use ike_client::session::RequestId;
use postern_api::fault::{Fault, FaultName};
use postern_api::method::Role;
use postern_api::prompt::{Prompt, PromptKind};
use std::collections::BTreeMap;
use std::time::Duration;

/// A question that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// As it was asked.
    pub prompt: Prompt,
    /// The tunnel.
    pub tunnel: String,
    /// The engine's request.
    pub request: RequestId,
    /// The user for whom the connection is made.
    pub uid: Option<u32>,
}

/// The questions that wait.
#[derive(Debug, Default)]
pub struct Prompts {
    last: u64,
    asked: BTreeMap<u64, Asked>,
}

impl Prompts {
    /// Asks.
    pub fn ask(
        &mut self,
        tunnel: &str,
        request: RequestId,
        kind: PromptKind,
        text: String,
        within: Duration,
        uid: Option<u32>,
    ) -> Prompt {
        self.last = self.last.saturating_add(1);
        let prompt = Prompt {
            id: self.last,
            tunnel: tunnel.into(),
            kind,
            text: text.into(),
            address: None,
            seconds: within.as_secs(),
            uid,
        };
        let asked = Asked { prompt: prompt.clone(), tunnel: tunnel.to_owned(), request, uid };
        self.asked.insert(self.last, asked);
        prompt
    }

    /// Asks for a sign-on in a browser, which no request of the engine waits for.
    pub fn ask_sign_on(&mut self, tunnel: &str, address: &str, within: Duration, uid: Option<u32>) -> Prompt {
        let text = "Sign on in a browser on this machine".to_owned();
        let mut prompt = self.ask(tunnel, RequestId(0), PromptKind::SignOn, text, within, uid);
        prompt.address = Some(address.into());
        if let Some(asked) = self.asked.get_mut(&prompt.id) {
            asked.prompt = prompt.clone();
        }
        prompt
    }

    /// Takes the question that an answer is for. Only the user for whom the connection is made
    /// answers, or an administrator.
    ///
    /// # Errors
    /// `UsageInvalid` when it no longer waits, `NotPermitted` when it is another user's.
    pub fn take(&mut self, id: u64, uid: Option<u32>, role: Role) -> Result<Asked, Fault> {
        match self.asked.get(&id) {
            None => Err(Fault::new(FaultName::UsageInvalid, "prompt", "is no longer waited for", "connect again")),
            Some(asked) if asked.uid != uid && role < Role::Administrator => {
                Err(Fault::new(FaultName::NotPermitted, "prompt", "is another user's", ""))
            }
            Some(_) => self.asked.remove(&id).ok_or_else(|| Fault::new(FaultName::Internal, "prompt", "vanished", "")),
        }
    }

    /// Returns the questions of a tunnel, in the order in which they were asked.
    pub fn of<'a>(&'a self, tunnel: &'a str) -> impl Iterator<Item = &'a Prompt> {
        self.asked.values().filter(move |asked| asked.tunnel == tunnel).map(|asked| &asked.prompt)
    }

    /// Forgets the questions of a tunnel and returns their numbers.
    pub fn forget(&mut self, tunnel: &str) -> Vec<u64> {
        let gone: Vec<u64> = self.asked.iter().filter(|(_, asked)| asked.tunnel == tunnel).map(|(id, _)| *id).collect();
        gone.iter().for_each(|id| drop(self.asked.remove(id)));
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> (Prompts, u64) {
        let mut prompts = Prompts::default();
        let limit = Duration::from_secs(60);
        let prompt = prompts.ask("work", RequestId(7), PromptKind::Password, "Password".into(), limit, Some(1000));
        (prompts, prompt.id)
    }

    #[test]
    fn another_user_cannot_answer_and_nobody_answers_twice() {
        let (mut prompts, id) = asked();
        assert_eq!(prompts.take(id, Some(1001), Role::User).unwrap_err().name, FaultName::NotPermitted);
        assert_eq!(prompts.take(id, Some(1000), Role::User).unwrap().request, RequestId(7));
        assert_eq!(prompts.take(id, Some(1000), Role::User).unwrap_err().name, FaultName::UsageInvalid);
    }

    #[test]
    fn an_ended_attempt_takes_its_questions_along() {
        let (mut prompts, id) = asked();
        assert_eq!(prompts.forget("work"), [id]);
        assert!(prompts.take(id, None, Role::Administrator).is_err());
    }
}
