//! Groups 2, 5 and 14 to 18: modular exponentiation (RFC 2409, RFC 3526), in constant time.
//!
//! Exponents have 512 bits: twice the strength of the strongest group (RFC 3526 §8) and half of
//! the work that a full-length exponent costs in the smallest.

use super::{KeyExchangeError, Method, Secret, SharedSecret};
use crate::random::Random;
use crypto_bigint::{
    BoxedUint, Odd, Resize,
    modular::{BoxedMontyForm, BoxedMontyParams},
};
use zeroize::{Zeroize, Zeroizing};

/// The length of our secret exponents in bits.
const EXPONENT_BITS: u32 = 512;

struct Modp {
    params: BoxedMontyParams,
    prime: Odd<BoxedUint>,
    exponent: BoxedUint,
}

pub(super) fn generate(prime: &str, random: &mut dyn Random) -> Result<(Vec<u8>, Box<dyn Method>), KeyExchangeError> {
    let bits = u32::try_from(prime.len()).unwrap_or(u32::MAX).saturating_mul(4);
    let prime = BoxedUint::from_be_hex(prime, bits)
        .into_option()
        .and_then(|prime| prime.into_odd().into_option())
        .expect("the primes in the table are odd numbers in hexadecimal");
    let params = BoxedMontyParams::new_vartime(prime.clone());
    let mut octets = Zeroizing::new([0; EXPONENT_BITS as usize / 8]);
    random.fill(octets.as_mut())?;
    let exponent = BoxedUint::from_be_slice_truncated(octets.as_ref(), EXPONENT_BITS);
    let modp = Modp { params, prime, exponent };
    let public = modp.power(BoxedUint::from(2_u8).resize(bits)).to_vec();
    Ok((public, Box::new(modp)))
}

impl Modp {
    /// Raises `base` to our exponent: big-endian octets of the length of the prime.
    fn power(&self, base: BoxedUint) -> Zeroizing<Vec<u8>> {
        let mut power =
            BoxedMontyForm::new(base, &self.params).pow_bounded_exp(&self.exponent, self.exponent.bits_precision());
        let mut value = power.retrieve();
        let octets = Zeroizing::new(value.to_be_bytes().into_vec());
        value.zeroize();
        power.zeroize();
        octets
    }
}

impl Method for Modp {
    fn agree(&self, peer: &[u8]) -> Option<SharedSecret> {
        let bits = self.prime.bits_precision();
        let peer = BoxedUint::from_be_slice(peer, bits).ok()?;
        let one = BoxedUint::one_with_precision(bits);
        // RFC 6989 §2.1: 1 < y < p - 1. The peer's value is public, so time may depend on it.
        if peer <= one || peer >= self.prime.as_ref().wrapping_sub(&one) {
            return None;
        }
        Some(Secret::from(self.power(peer).as_slice()))
    }
}

impl Drop for Modp {
    fn drop(&mut self) {
        self.exponent.zeroize();
    }
}

#[cfg(test)]
mod tests {
    //! NIST's values for a key agreement over a safe prime: ACVP's sample of KAS-FFC-SSC (SP 800-56A,
    //! revision 3), group ffdhe2048, first test; and for a pair of keys of group 14: ACVP's sample of safePrimes-keyVer,
    //! MODP-2048, test 12. The samples have no values of the longer groups; every group is held against OpenSSL by
    //! the lab's tests.

    use super::*;

    /// p
    const PRIME: &[&str] = &[
        "FFFFFFFFFFFFFFFFADF85458A2BB4A9AAFDC5620273D3CF1D8B9C583CE2D3695A9E13641146433FBCC939DCE249B3EF9",
        "7D2FE363630C75D8F681B202AEC4617AD3DF1ED5D5FD65612433F51F5F066ED0856365553DED1AF3B557135E7F57C935",
        "984F0C70E0E68B77E2A689DAF3EFE8721DF158A136ADE73530ACCA4F483A797ABC0AB182B324FB61D108A94BB2C8E3FB",
        "B96ADAB760D7F4681D4F42A3DE394DF4AE56EDE76372BB190B07A7C8EE0A6D709E02FCE1CDF7E2ECC03404CD28342F61",
        "9172FE9CE98583FF8E4F1232EEF28183C3FE3B1B4C6FAD733BB5FCBC2EC22005C58EF1837D1683B2C6F34A26C1B2EFFA",
        "886B423861285C97FFFFFFFFFFFFFFFF",
    ];
    /// ephemeralPrivateIut
    const OURS: &[&str] = &[
        "71380E69933D9B7F45F1CA918946EE38CAF12DBAEAE8AB169B205F2EBD9F438153791C5C768454BB280CD2CD9C737779",
        "47C951562E68529FD321C333C00055B0F5FEFFD1B0A0A2CCC513E9741332CE9A38E645019395164162467E41C080E599",
        "BD23F29DF98CE5BA18858DB705363A6A5A2F4EF77A205217546EAA29583531DADEDCDD218729632C43A13540913FDFA1",
        "08CA8F0CBBB0B958081B40AE20D6437193B87E210C8A2275A122E0EEB9E2B228ED16F069C5E590B7347312B285F8BBEA",
        "7910E7B7EEEF7202539467D769B4A832DA593C254ECEE9B440A3A82BF7F2EE44B6905CDA7FDFD6E352A2D5ACD3924618",
        "388040712D5BDBCBC5FE5A20048EF05C",
    ];
    /// ephemeralPublicIut
    const PUBLIC: &[&str] = &[
        "0A528B4BC71FFF42113F2F21BD2BBD17EB2B5F15B0A15EDA4DBB7864429E9655CDA4B256D1655E5CD60062C92097008C",
        "6D2A461FC71DA3339DCB9B77D0F30B4FB44CEB48991C0A0AAF5331593BF404469411CE24EACDD12A9AD46A9D3170F1CC",
        "28C006BC4D7B18B1948B61C560C04AA1A6F71A726078BDE16D4AB75C164A64F3A8018F204873EBB2F05B4319AB139E9E",
        "94B8EA12B7381847FC7AF95E01403998F3001F716CC0C67D50972E8DC21FCCB44AE6BBC09F6776D0555B84765FEB903E",
        "52501E3DE577C2532ACF755DC85CBB2A38036FEAA4FDA04F5E38AF55A02B4669273E5406FDFD6D7FC13195FCFCFDE023",
        "DD9ACC85F23B0CBE7D4B4CF489CBFD51",
    ];
    /// ephemeralPublicServer
    const THEIRS: &[&str] = &[
        "D15B2174DC6B2D45F0D5EF1DE4D909749501870632F1D41B6A483A57033C37872BD58C47D8405883EA956737EAEFFFA3",
        "66962A6082C72148A7CA521D9EBCB8F2E61B3CA1720E0B084C2931F061EBF61766471DC82018B1B1873F5EF9F14BA866",
        "5AC91EB1FCDF11A44425B3B4177F8AE4717A98E5B9D3F9570857A1D230C40EEF15BD3E96F46830EEB995E6B814DA2320",
        "5DD6A1408AD4892610D260813A2B4B9EA38CE8F8250C5DB37B2026375EDA1A8CBA439F63D96008F625B56D08275E6E77",
        "3E9DEE435B9D0A2E831D02CD03AA5D9EBAA7FC752C75B3179FA43D4EE89945DC2C44017C7C9ABCD4A21003B982C4BD39",
        "8D2C228E4689704518056625517B50AD",
    ];
    /// z
    const SHARED: &[&str] = &[
        "5D52A8867A2B18FC492429E6B78A366E4A9ACFC76CD500B92E993F1EBE29445F394F34E4893A1E39018624A5AF0B27B6",
        "65C5A8F1957E3043D33F13DDDA808E8024E20DFDCCFCE80C9DE65D5CA18C762828E3A9044E97BFA051007972AB2003C5",
        "EC00B7E6D29DEA98E11E0E85405477CBBF9219C018BDA9197657F139E75BA16A6C68BBFA654BC3D45B52EA06E7D65BCB",
        "6DCB35E6A05941938D0D195F4FD1C12BDC184C104BF97879A25B69847B973AAD933588EBA91E414A0EE5169259691CB3",
        "FE551FE8A748D3F93ED323D01888BCA0C87AEBD0E3BBB48F6836E46D5558F2889EAAB86804C68C1509243C63A24DDEFF",
        "0566FF726AD3385ADD44C811CB09B46F",
    ];

    /// x of MODP-2048
    const PRIVATE_14: &[&str] = &[
        "60FCAB62332180058C17976D33CEC3498A17052DF51F368B50A92B7A83F5D17BD28AED4A827D6ED617FE1552F78A0C1D",
        "61E533424E1F77DE8B61BCE2D64AEA984A5AA8C5DE01FA8D5A9EC3611AA595442E3EDB540D4CEDFAA43312FD08565C1B",
        "B66CF51EBDAA66CC39D707F12A5A4D9B77E0A14904880CB2DC2665B2534E7769F913745ECBCE0968FF96CB2C6187FC66",
        "A4FCA558F4F6CFBDBBE5AFCBF5F2A5DCDA2E3B9B0ED4A05973AAA78786A3E49D08CAB9E13A3503F996429148978A518D",
        "D2B308925F9EBABA03E2CD84B2496B6F935294758F9191477BD4B46DC9BC176F702D136D10A61FD8BA8B1A17B34329F9",
        "8445903CDEF25C2C15D7FD45C83782C3",
    ];
    /// y of MODP-2048
    const PUBLIC_14: &[&str] = &[
        "EE688171E85CB65AD9611B0AD4F3E637AB00A962185CAC3193AAFBC46E062602E2F40689A8557BAA0C1F1779B48179FE",
        "D32D6616BD889179A6FBDF232A1EC7D357BDE3DB5A1C76C2C41F153A4CEAC4AC54BD5EB05797530AD0B581C1E2FB7AA3",
        "AA4F6B9658CC625179285F3F7720A7285AABC5940E14E83DE1B1BF8B3CCF2C2D2491D177D5D1FD1BB74D6CF9BAFCDE44",
        "D418AD654FF834504EF6A640B08B59A4D97CFC8651B642C91F8906C2D3DAE2B659BB738CABC805B9781B1809863A7994",
        "3070E5AF333E780E786C7A16FC83D0163710BE657FBE236F675E3426B8BFEC9E696864A006B7D3152FE27220E7D102B6",
        "1A7E47FA32D2197C5CB2DE52B18B53DC",
    ];

    #[test]
    fn group_14_gives_the_public_value_of_nist() {
        let prime = BoxedUint::from_be_hex(super::super::primes::MODP_2048, 2048).unwrap().into_odd().unwrap();
        let exponent = BoxedUint::from_be_hex(&PRIVATE_14.concat(), 2048).unwrap();
        let modp = Modp { params: BoxedMontyParams::new_vartime(prime.clone()), prime, exponent };
        let public = modp.power(BoxedUint::from(2_u8).resize(2048));
        assert_eq!(hex::encode_upper(&*public), PUBLIC_14.concat());
    }

    #[test]
    fn a_safe_prime_gives_the_values_of_nist() {
        let number = |digits: &[&str]| BoxedUint::from_be_hex(&digits.concat(), 2048).unwrap();
        let octets = |digits: &[&str]| hex::decode(digits.concat()).unwrap();
        let prime = number(PRIME).into_odd().unwrap();
        let params = BoxedMontyParams::new_vartime(prime.clone());
        let modp = Modp { params, prime, exponent: number(OURS) };
        assert_eq!(*modp.power(BoxedUint::from(2_u8).resize(2048)), octets(PUBLIC));
        assert_eq!(modp.agree(&octets(THEIRS)).unwrap().expose(), octets(SHARED));
    }
}
