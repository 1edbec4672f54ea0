//! Known answers: RFC 7748 §6.1, RFC 5903 §8; the MODP values were computed with Python's integers.

use super::*;
use crate::crypto::hash::Digest;
use crate::random::SeededRandom;

/// Gives the octets of a published example.
struct Fixed(Vec<u8>);

impl Random for Fixed {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), RandomUnavailable> {
        if self.0.len() != bytes.len() {
            return Err(RandomUnavailable);
        }
        bytes.copy_from_slice(&self.0);
        Ok(())
    }
}

fn octets(hexadecimal: &[&str]) -> Vec<u8> {
    hex::decode(hexadecimal.concat().replace(' ', "")).unwrap()
}

fn exchange(group: Group, secret: &[&str]) -> KeyExchange {
    KeyExchange::generate(group, &mut Fixed(octets(secret))).unwrap()
}

fn check(group: Group, ours: [&[&str]; 2], theirs: [&[&str]; 2], shared: &[&str]) {
    let [a, b] = [exchange(group, ours[0]), exchange(group, theirs[0])];
    assert_eq!(a.public(), octets(ours[1]));
    assert_eq!(b.public(), octets(theirs[1]));
    let (to_a, to_b) = (b.public().to_vec(), a.public().to_vec());
    assert_eq!(a.agree(&to_a).unwrap().expose(), octets(shared));
    assert_eq!(b.agree(&to_b).unwrap().expose(), octets(shared));
}

#[test]
fn curve25519_gives_the_values_of_rfc_7748() {
    check(
        Group::Curve25519,
        [
            &["77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a"],
            &["8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a"],
        ],
        [
            &["5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb"],
            &["de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f"],
        ],
        &["4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742"],
    );
}

#[test]
fn p256_gives_the_values_of_rfc_5903() {
    check(
        Group::Ecp256,
        [
            &["C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433"],
            &[
                "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180",
                "5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
            ],
        ],
        [
            &["C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53"],
            &[
                "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63",
                "56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
            ],
        ],
        &["D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE"],
    );
}

#[test]
fn p384_gives_the_values_of_rfc_5903() {
    check(
        Group::Ecp384,
        [
            &["099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194"],
            &[
                "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA",
                "9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
            ],
        ],
        [
            &["41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC"],
            &[
                "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571",
                "DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
            ],
        ],
        &["11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746"],
    );
}

#[test]
fn p521_gives_the_values_of_rfc_5903() {
    check(
        Group::Ecp521,
        [
            &[
                "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A0",
                "95AA85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52",
            ],
            &[
                "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBE",
                "E1E3BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176CED3E",
                "017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4A10A",
                "D8A788015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582",
            ],
        ],
        [
            &[
                "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E",
                "9C677D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9",
            ],
            &[
                "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A21",
                "9B97C356436ADC6E95BB0352F6BE64A6C2912D4EF2D0433CED2B6171640012D9460F",
                "015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D9852077B87",
                "220B6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0FC56A",
            ],
        ],
        &[
            "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04",
            "D1427E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA",
        ],
    );
}

#[test]
fn modp_groups_give_the_values_of_another_implementation() {
    let sha256 = |bytes: &[u8]| hex::encode(Digest::Sha256.of(&[bytes]));
    for (group, ours, theirs, shared) in [
        (
            Group::Modp1024,
            "27db84123663a2cbf34c7606477c23ea00a792ebb565df0d944d90ce6907d9dc",
            "fb49e3e91450b6bd5e5fc80e6216e480374511ee6c40110dd43fe6cc93c7c42e",
            "4dc010fccaa896eac3f4013946b6f846dbc31735d35cbc6657647a5a6b49e516",
        ),
        (
            Group::Modp1536,
            "750965c4f6ff416538ae09f001ebdf1dc4d531a40416f7e07cbda8c38abe27aa",
            "a00584339041b25f69a0eba721cee072133a8e964b581180c0683c67574947bf",
            "9e17c669d2d01abd8318b29bd60ef3ab19332f104b67553120c4e9253cc731e0",
        ),
        (
            Group::Modp2048,
            "5141ed60d422816c251a9a61f4dc090fc6161ec870357a0af29fb84a0bb34e5e",
            "c86032ede6c39a8ab3623d4619a7f0107158ed6fd4af42defaf891141c17832c",
            "9413d3bfb3e5d8ee5ffd18d06b8460beddf411588c90cb1fedf4e995c5847429",
        ),
        (
            Group::Modp3072,
            "077dffd743a6dda7e2400cb20075f1619d72d9eb8c6fb5d0c2af92940f79bddc",
            "5626d6c537c438a47ee74c08f0b24eea742e92c70ebc6fe4d456b1c8abf89117",
            "52ab179f5c6078c769b239bf21afa47323817bc2340f04a0bd610943fe08c526",
        ),
        (
            Group::Modp4096,
            "0439872574dafc9b300359ea0dd742c3976ccf9fa56883bdb8268462adedf8cf",
            "e2e6f55227afee57cb5e944947ddbf5852dac1ccd9305a9096f490db3febdb81",
            "87b605a4430a403eb2e6163f874e2ee1bbac77357ca172d106f757a96cea5857",
        ),
        (
            Group::Modp6144,
            "248f61a86f1c080d552a6a3fb479e26dd41759548ee48a0f4f526d49ce951992",
            "d741438393d77c5fddef99d0df2b5e62cd02f91ab56b80931d7cc4631e965ba8",
            "bcff31f2874407ee99a891f850fbed0777b75b39435e82217b1fe446d0b33824",
        ),
        (
            Group::Modp8192,
            "86b83427a715cae1ac4f0f7ce33a65bdce79ab5608db0fb2aad514b29f74e68a",
            "c9af0cf1b4b25f4c0017d923263080e68fe0f3bd1974c9b2899ba8a90964cd23",
            "f4c84c299b385725950bc0391940726c5052d135ab0086ee5b41806f2787054e",
        ),
    ] {
        let a = KeyExchange::generate(group, &mut Fixed((1..=64).collect())).unwrap();
        let b = KeyExchange::generate(group, &mut Fixed((65..=128).collect())).unwrap();
        assert_eq!(sha256(a.public()), ours, "{}", group.name());
        assert_eq!(sha256(b.public()), theirs, "{}", group.name());
        let peer = b.public().to_vec();
        assert_eq!(sha256(a.agree(&peer).unwrap().expose()), shared, "{}", group.name());
    }
}

#[test]
fn every_group_agrees_with_its_responder_at_the_stated_lengths() {
    let mut random = SeededRandom::new(7);
    for group in Group::ALL {
        let ours = KeyExchange::generate(*group, &mut random).unwrap();
        assert_eq!(ours.public().len(), group.public_length());
        let (answer, theirs) = respond(*group, ours.public(), &mut random).unwrap();
        assert_eq!(answer.len(), group.answer_length());
        assert_eq!(ours.agree(&answer).unwrap(), theirs, "{}", group.name());
    }
}

#[test]
fn a_changed_ciphertext_of_ml_kem_gives_another_secret_and_no_error() {
    let mut random = SeededRandom::new(17);
    for group in [Group::MlKem512, Group::MlKem768, Group::MlKem1024] {
        let ours = KeyExchange::generate(group, &mut random).unwrap();
        let (mut answer, theirs) = respond(group, ours.public(), &mut random).unwrap();
        answer[5] ^= 1;
        assert_ne!(ours.agree(&answer).unwrap(), theirs, "{}", group.name());
    }
}

#[test]
fn an_encapsulation_key_that_no_encoding_gives_is_refused() {
    // FIPS 203 §7.2: a coefficient of 4095 is not below the modulus 3329.
    for group in [Group::MlKem512, Group::MlKem768, Group::MlKem1024] {
        let refused = respond(group, &vec![0xff; group.public_length()], &mut SeededRandom::new(18));
        assert_eq!(refused.unwrap_err(), KeyExchangeError::InvalidValue { group });
    }
}

#[test]
fn values_that_force_the_result_are_refused() {
    let mut random = SeededRandom::new(8);
    let mut refused = |group: Group, value: Vec<u8>| {
        let result = KeyExchange::generate(group, &mut random).unwrap().agree(&value);
        assert_eq!(result, Err(KeyExchangeError::InvalidValue { group }), "{}", hex::encode(value));
    };
    for (group, prime) in [
        (Group::Modp1024, primes::MODP_1024),
        (Group::Modp1536, primes::MODP_1536),
        (Group::Modp2048, primes::MODP_2048),
        (Group::Modp3072, primes::MODP_3072),
        (Group::Modp4096, primes::MODP_4096),
        (Group::Modp6144, primes::MODP_6144),
        (Group::Modp8192, primes::MODP_8192),
    ] {
        let prime = octets(&[prime]);
        let edge = |difference: u8| {
            let mut value = prime.clone();
            *value.last_mut().unwrap() -= difference;
            value
        };
        let small = |value: u8| [vec![0; prime.len() - 1], vec![value]].concat();
        for value in [small(0), small(1), edge(1), edge(0), vec![0xff; prime.len()]] {
            refused(group, value);
        }
    }
    // Points of small order (RFC 7748 §6.1), on the curve and on its twist, some not reduced.
    for order in [
        "00",
        "01",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    ] {
        let mut value = octets(&[order]);
        value.resize(32, 0);
        refused(Group::Curve25519, value);
    }
    // Off the curve, and the origin, which is how some write the point at infinity.
    for group in [Group::Ecp256, Group::Ecp384, Group::Ecp521] {
        refused(group, vec![1; group.public_length()]);
        refused(group, vec![0; group.public_length()]);
        refused(group, vec![0xff; group.public_length()]);
    }
}

#[test]
fn a_value_of_another_length_is_refused_before_anything_is_computed() {
    for group in Group::ALL.iter().copied() {
        let mut random = SeededRandom::new(9);
        let ours = KeyExchange::generate(group, &mut random).unwrap();
        let octets = group.answer_length() - 1;
        assert_eq!(ours.agree(&vec![2; octets]), Err(KeyExchangeError::WrongLength { group, octets }));
        let octets = group.public_length() + 1;
        let answered = respond(group, &vec![2; octets], &mut random);
        assert_eq!(answered.unwrap_err(), KeyExchangeError::WrongLength { group, octets });
    }
}
