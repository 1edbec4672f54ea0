//! Key exchange methods (IANA transform type 4, and types 6 to 12 of RFC 9370).

use super::table;

/// What kind of exchange a group is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Modular exponentiation.
    Modp,
    /// A curve.
    Curve,
    /// A key encapsulation mechanism that is thought to withstand a quantum computer.
    Kem,
}

struct Row {
    id: u16,
    /// The length of the initiator's key exchange data in octets.
    request: usize,
    /// The length of the responder's.
    response: usize,
    kind: GroupKind,
}

const fn modp(id: u16, length: usize) -> Row {
    Row { id, request: length, response: length, kind: GroupKind::Modp }
}

const fn curve(id: u16, length: usize) -> Row {
    Row { id, request: length, response: length, kind: GroupKind::Curve }
}

const fn kem(id: u16, request: usize, response: usize) -> Row {
    Row { id, request, response, kind: GroupKind::Kem }
}

table! {
    /// A key exchange method.
    Group: Row {
        /// Group 2: 1024-bit MODP (RFC 2409): weak, for a gateway that has nothing else.
        Modp1024: "modp1024" = modp(2, 128);
        /// Group 5: 1536-bit MODP (RFC 3526): weak, for a gateway that has nothing else.
        Modp1536: "modp1536" = modp(5, 192);
        /// Group 14: 2048-bit MODP (RFC 3526).
        Modp2048: "modp2048" = modp(14, 256);
        /// Group 15: 3072-bit MODP (RFC 3526).
        Modp3072: "modp3072" = modp(15, 384);
        /// Group 16: 4096-bit MODP (RFC 3526).
        Modp4096: "modp4096" = modp(16, 512);
        /// Group 17: 6144-bit MODP (RFC 3526).
        Modp6144: "modp6144" = modp(17, 768);
        /// Group 18: 8192-bit MODP (RFC 3526).
        Modp8192: "modp8192" = modp(18, 1024);
        /// Group 19: NIST P-256 (RFC 5903).
        Ecp256: "ecp256" = curve(19, 64);
        /// Group 20: NIST P-384 (RFC 5903).
        Ecp384: "ecp384" = curve(20, 96);
        /// Group 21: NIST P-521 (RFC 5903).
        Ecp521: "ecp521" = curve(21, 132);
        /// Group 31: Curve25519 (RFC 8031).
        Curve25519: "x25519" | "curve25519" = curve(31, 32);
        /// 35: ML-KEM-512 (FIPS 203); only beside another method.
        MlKem512: "mlkem512" = kem(35, 800, 768);
        /// 36: ML-KEM-768 (FIPS 203); only beside another method.
        MlKem768: "mlkem768" = kem(36, 1184, 1088);
        /// 37: ML-KEM-1024 (FIPS 203); only beside another method.
        MlKem1024: "mlkem1024" = kem(37, 1568, 1568);
    }
}

impl Group {
    /// Returns the IANA transform number.
    pub const fn id(self) -> u16 {
        self.row().id
    }

    /// Finds the group of an IANA number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|row| row.id() == id)
    }

    /// Returns what kind of exchange it is.
    pub const fn kind(self) -> GroupKind {
        self.row().kind
    }

    /// Returns whether it is thought to withstand a quantum computer.
    pub const fn is_post_quantum(self) -> bool {
        matches!(self.kind(), GroupKind::Kem)
    }

    /// Returns whether nobody should choose it who has a choice.
    pub const fn is_weak(self) -> bool {
        matches!(self, Self::Modp1024 | Self::Modp1536)
    }

    /// Returns the length of the initiator's key exchange data in octets.
    pub const fn public_length(self) -> usize {
        self.row().request
    }

    /// Returns the length of the responder's key exchange data in octets.
    pub const fn answer_length(self) -> usize {
        self.row().response
    }
}
