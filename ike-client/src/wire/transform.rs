//! Transform types and the numbers of each (RFC 7296 §3.3.2 and IANA's registries).

use super::open::open_enum;

open_enum! {
    /// What a transform chooses.
    pub struct TransformType(u8) {
        /// Encryption.
        ENCRYPTION = 1 => "ENCR",
        /// Pseudo-random function.
        PSEUDO_RANDOM_FUNCTION = 2 => "PRF",
        /// Integrity.
        INTEGRITY = 3 => "INTEG",
        /// Key exchange method.
        KEY_EXCHANGE = 4 => "KE",
        /// Extended sequence numbers.
        EXTENDED_SEQUENCE_NUMBERS = 5 => "ESN",
        /// First additional key exchange (RFC 9370).
        ADDITIONAL_KEY_EXCHANGE_1 = 6 => "ADDKE1",
        /// Second additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_2 = 7 => "ADDKE2",
        /// Third additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_3 = 8 => "ADDKE3",
        /// Fourth additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_4 = 9 => "ADDKE4",
        /// Fifth additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_5 = 10 => "ADDKE5",
        /// Sixth additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_6 = 11 => "ADDKE6",
        /// Seventh additional key exchange.
        ADDITIONAL_KEY_EXCHANGE_7 = 12 => "ADDKE7",
    }
}

open_enum! {
    /// Encryption algorithms.
    pub struct Encryption(u16) {
        /// Triple DES in CBC mode.
        TRIPLE_DES = 3 => "3DES",
        /// No encryption.
        NULL = 11 => "NULL",
        /// AES in CBC mode.
        AES_CBC = 12 => "AES_CBC",
        /// AES in counter mode.
        AES_CTR = 13 => "AES_CTR",
        /// AES-CCM with a 16-byte ICV.
        AES_CCM_16 = 16 => "AES_CCM_16",
        /// AES-GCM with an 8-byte ICV.
        AES_GCM_8 = 18 => "AES_GCM_8",
        /// AES-GCM with a 12-byte ICV.
        AES_GCM_12 = 19 => "AES_GCM_12",
        /// AES-GCM with a 16-byte ICV.
        AES_GCM_16 = 20 => "AES_GCM_16",
        /// ChaCha20-Poly1305 (RFC 7634).
        CHACHA20_POLY1305 = 28 => "CHACHA20_POLY1305",
        /// AES-GCM-16 with an implicit IV (RFC 8750).
        AES_GCM_16_IIV = 30 => "AES_GCM_16_IIV",
        /// ChaCha20-Poly1305 with an implicit IV (RFC 8750).
        CHACHA20_POLY1305_IIV = 31 => "CHACHA20_POLY1305_IIV",
    }
}

open_enum! {
    /// Pseudo-random functions.
    pub struct PseudoRandomFunction(u16) {
        /// HMAC-MD5.
        HMAC_MD5 = 1 => "PRF_HMAC_MD5",
        /// HMAC-SHA-1.
        HMAC_SHA1 = 2 => "PRF_HMAC_SHA1",
        /// AES-128-XCBC (RFC 4434).
        AES128_XCBC = 4 => "PRF_AES128_XCBC",
        /// HMAC-SHA-256.
        HMAC_SHA2_256 = 5 => "PRF_HMAC_SHA2_256",
        /// HMAC-SHA-384.
        HMAC_SHA2_384 = 6 => "PRF_HMAC_SHA2_384",
        /// HMAC-SHA-512.
        HMAC_SHA2_512 = 7 => "PRF_HMAC_SHA2_512",
        /// AES-128-CMAC (RFC 4615).
        AES128_CMAC = 8 => "PRF_AES128_CMAC",
    }
}

open_enum! {
    /// Integrity algorithms.
    pub struct Integrity(u16) {
        /// None, beside an AEAD.
        NONE = 0 => "NONE",
        /// HMAC-MD5, 96 bits.
        HMAC_MD5_96 = 1 => "HMAC_MD5_96",
        /// HMAC-SHA-1, 96 bits.
        HMAC_SHA1_96 = 2 => "HMAC_SHA1_96",
        /// AES-XCBC, 96 bits.
        AES_XCBC_96 = 5 => "AES_XCBC_96",
        /// AES-CMAC, 96 bits.
        AES_CMAC_96 = 8 => "AES_CMAC_96",
        /// HMAC-SHA-256, 128 bits.
        HMAC_SHA2_256_128 = 12 => "HMAC_SHA2_256_128",
        /// HMAC-SHA-384, 192 bits.
        HMAC_SHA2_384_192 = 13 => "HMAC_SHA2_384_192",
        /// HMAC-SHA-512, 256 bits.
        HMAC_SHA2_512_256 = 14 => "HMAC_SHA2_512_256",
    }
}

open_enum! {
    /// Key exchange methods, once called Diffie-Hellman groups.
    pub struct KeyExchangeGroup(u16) {
        /// None.
        NONE = 0 => "NONE",
        /// 1024-bit MODP.
        MODP_1024 = 2 => "MODP_1024",
        /// 1536-bit MODP.
        MODP_1536 = 5 => "MODP_1536",
        /// 2048-bit MODP.
        MODP_2048 = 14 => "MODP_2048",
        /// 3072-bit MODP.
        MODP_3072 = 15 => "MODP_3072",
        /// 4096-bit MODP.
        MODP_4096 = 16 => "MODP_4096",
        /// NIST P-256.
        ECP_256 = 19 => "ECP_256",
        /// NIST P-384.
        ECP_384 = 20 => "ECP_384",
        /// NIST P-521.
        ECP_521 = 21 => "ECP_521",
        /// Curve25519 (RFC 8031).
        CURVE25519 = 31 => "CURVE25519",
        /// Curve448 (RFC 8031).
        CURVE448 = 32 => "CURVE448",
        /// ML-KEM-512.
        ML_KEM_512 = 35 => "ML_KEM_512",
        /// ML-KEM-768.
        ML_KEM_768 = 36 => "ML_KEM_768",
        /// ML-KEM-1024.
        ML_KEM_1024 = 37 => "ML_KEM_1024",
    }
}

open_enum! {
    /// Whether ESP counts with 32 or 64 bits.
    pub struct ExtendedSequenceNumbers(u16) {
        /// 32 bits.
        NO = 0 => "NO_ESN",
        /// 64 bits.
        YES = 1 => "ESN",
    }
}
