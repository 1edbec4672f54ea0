//! The sample of NIST's validation of the IKEv2 key derivation (SP 800-135): SHA-256, nonces of 8 octets.

use super::*;

const NONCES: [&str; 2] = ["3651fef5c9c35e93", "c09a8b90a3f04d59"];
const SPIS: [&str; 2] = ["8e5c3ae507221684", "b1f201bb155c3acd"];
const SHARED: &str = concat!(
    "d084a30166a50fb7325c3960874a839449ef9741c2f4f947d0201dd8c1269273d79509f37e3ca3eb4fa2fe2a28254e28",
    "9cd3f34dad4eb4df1a07685a4b8a94fa61e2491f7598b3ce65547ff133b3f63d1ac4175eaa695033f3cedb026a6873a3",
    "6455172a8540b8a5d23a0143bed0390ee49b168269d75fffee9fb62be965993c",
);
const KEYS: &str = concat!(
    "462b9dd525d4fd71169174272779e704baf62c6231779ae9efe8c58b21916b42010164af2111ebd762f6916ca9a6f0ee",
    "05c8b320e4ee27705521de2589adea1878f1a551738af7c88dc4f0bb0c096a3f7d1f1a670fc79f49f678d60d665bb371",
    "0c8657f03ba9f62b9a818d7a228968c506e237ae9502aa6db395c61ea6a3e79504f86b7368bfb5423df79e48809bbccd",
    "49fd826d024f63d7c2a5566400a12e736aa034510428f5ea008fe2fc16886fa388274ea6c2b4fcfc6141bf04f8207ef8",
);
const CHILD: &str = concat!(
    "23647677e7d403fa1e3006f19840aee18ad9fecc4215814c4131bdeba98433d8b0e31bfbbddf822abcce5e06486aa388",
    "022b75e27e1e68aa5983028b65282c730c5d49ef7606770376cfdec41f7cc435d816029989bc353d3b67b9fd1168ddcb",
);
const FRESH: &str = concat!(
    "52f00ab174c25d5b7139ae5ff4e8e9eddee5992d2e36adf8a559ffd90dab1442e4fbe429d320c0f33552a17d1557fa41",
    "ea70e8fb916c4fa27ed52b5f8ebd8461afa78f1159159a64055ac5f6319e29c28eae58cbc6847770f32c3fed1d047504",
    "84f854790f95e9ec01bc5bc461f24966462e359511329305038e94deb6dd42c2",
);
const CHILD_WITH_FRESH: &str = concat!(
    "6a919387a5fa2835fe8a8237e4a14845bd2b9930db87eff7adf268f62186004902dba9aa942d0259a0edc4120b932a50",
    "3865b57ba8fb88117ef5df7b26799cd8ba37aa5438108cb1a4fe117907c9d0597b708c3f11151fefd624d2317202b7c8",
);
const SKEYSEED_OF_THE_NEXT: &str = "90722c42bd849e9b72d240fc254174270fa8295de6f0338dafc303a9ec104f12";

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(octets(text))
}

fn joined(secrets: &[&Secret]) -> String {
    secrets.iter().map(|secret| hex::encode(secret.expose())).collect()
}

fn of_child(keys: &ChildKeys) -> String {
    let ChildKeys { from_initiator, from_responder } = keys;
    joined(&[
        &from_initiator.encryption,
        &from_initiator.integrity,
        &from_responder.encryption,
        &from_responder.integrity,
    ])
}

#[test]
fn the_sample_of_nist_comes_out() {
    let [initiator, responder] = NONCES.map(octets);
    let nonces = Nonces { initiator: &initiator, responder: &responder };
    let [ours, theirs] = SPIS.map(|spi| octets(spi).try_into().unwrap());
    let spis = IkeSpis { initiator: ours, responder: theirs };
    // 3 * 32 + 2 * 32 + 2 * 16 octets of the sample's stream.
    let suite: IkeSuite = "aes128-sha256-prfsha256-modp1024".parse().unwrap();
    let keys = IkeKeys::derive(&suite, &secret(SHARED), nonces, spis).unwrap();
    let IkeKeys { sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr, .. } = &keys;
    assert_eq!(joined(&[sk_d, sk_ai, sk_ar, sk_ei, sk_er, sk_pi, sk_pr]), KEYS);

    let esp: EspSuite = "aes128-sha256".parse().unwrap();
    assert_eq!(of_child(&keys.child(&esp, None, nonces).unwrap()), CHILD);
    assert_eq!(of_child(&keys.child(&esp, Some(&secret(FRESH)), nonces).unwrap()), CHILD_WITH_FRESH);

    let next = keys.rekey(&suite, &secret(FRESH), nonces, spis).unwrap();
    let expected = IkeKeys::expand(&suite, &secret(SKEYSEED_OF_THE_NEXT), nonces, spis).unwrap();
    assert_eq!((next.sk_d, next.sk_er), (expected.sk_d, expected.sk_er));
}
