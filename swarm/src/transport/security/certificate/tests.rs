//! Certificates that prove who a peer is, and those that do not. What the parser says of them is
//! compared with what the parser of libp2p-tls says.

use rcgen::{SignatureAlgorithm, date_time_ymd};
use rustls::pki_types::PrivatePkcs8KeyDer;

use super::*;

const BOTH: [Dialect; 2] = Dialect::ALL;

/// Test vectors of the specification and of libp2p-tls.
mod vectors {
    pub(super) const ED25519: &str = "308201ae30820156a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea37c307a3078060a2b0601040183a25a0101046a3068042408011220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e706b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e702203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77";
    pub(super) const ED25519_OF_LIBP2P_TLS: &str = "308201773082011ea003020102020900f5bd0debaa597f52300a06082a8648ce3d04030230003020170d3735303130313030303030305a180f34303936303130313030303030305a30003059301306072a8648ce3d020106082a8648ce3d030107034200046bf9871220d71dcb3483ecdfcbfcc7c103f8509d0974b3c18ab1f1be1302d643103a08f7a7722c1b247ba3876fe2c59e26526f479d7718a85202ddbe47562358a37f307d307b060a2b0601040183a25a01010101ff046a30680424080112207fda21856709c5ae12fd6e8450623f15f11955d384212b89f56e7e136d2e17280440aaa6bffabe91b6f30c35e3aa4f94b1188fed96b0ffdd393f4c58c1c047854120e674ce64c788406d1c2c4b116581fd7411b309881c3c7f20b46e54c7e6fe7f0f300a06082a8648ce3d040302034700304402207d1a1dbd2bda235ff2ec87daf006f9b04ba076a5a5530180cd9c2e8f6399e09d0220458527178c7e77024601dbb1b256593e9b96d961b96349d1f560114f61a87595";
    /// The peer has not signed this one.
    pub(super) const ED25519_OF_ANOTHER: &str = "308201773082011da003020102020830a73c5d896a1109300a06082a8648ce3d04030230003020170d3735303130313030303030305a180f34303936303130313030303030305a30003059301306072a8648ce3d020106082a8648ce3d03010703420004bbe62df9a7c1c46b7f1f21d556deec5382a36df146fb29c7f1240e60d7d5328570e3b71d99602b77a65c9b3655f62837f8d66b59f1763b8c9beba3be07778043a37f307d307b060a2b0601040183a25a01010101ff046a3068042408011220ec8094573afb9728088860864f7bcea2d4fd412fef09a8e2d24d482377c20db60440ecabae8354afa2f0af4b8d2ad871e865cb5a7c0c8d3dbdbf42de577f92461a0ebb0a28703e33581af7d2a4f2270fc37aec6261fcc95f8af08f3f4806581c730a300a06082a8648ce3d040302034800304502202dfb17a6fa0f94ee0e2e6a3b9fb6e986f311dee27392058016464bd130930a61022100ba4b937a11c8d3172b81e7cd04aedb79b978c4379c2b5b24d565dd5d67d3cb3c";
    pub(super) const ECDSA: &str = "308201f63082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f2044730450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb9222cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf375cb0e5088a";
    pub(super) const SECP256K1: &str = "308201ba3082015fa0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea38184308181307f060a2b0601040183a25a01010471306f0425080212210206dc6968726765b820f050263ececf7f71e4955892776c0970542efd689d2382044630440220145e15a991961f0d08cd15425bb95ec93f6ffa03c5a385eedc34ecf464c7a8ab022026b3109b8a3f40ef833169777eb2aa337cfb6282f188de0666d1bcec2a4690dd300a06082a8648ce3d0403020349003046022100e1a217eeef9ec9204b3f774a08b70849646b6a1e6b8b27f93dc00ed58545d9fe022100b00dafa549d0f03547878338c7b15e7502888f6d45db387e5ae6b5d46899cef0";
    /// An ECDSA peer that has not signed this one.
    pub(super) const ECDSA_OF_ANOTHER: &str = "308201f73082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c69627032702e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a302031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a8648ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec878504c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f093a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f204473045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba24ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34a3fd56eef0d0df";
}

fn from_hex(hex: &str) -> CertificateDer<'static> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into()
}

/// What is said of a certificate in a dialect. In libp2p's, libp2p-tls has to say the same.
fn parsed(certificate: &CertificateDer<'_>, dialect: Dialect) -> Result<PeerId, CertificateError> {
    let ours = parse(certificate, dialect);
    if dialect == Dialect::Libp2p {
        let theirs = libp2p_tls::certificate::parse(certificate).map(|it| it.peer_id());
        assert_eq!(ours.clone().ok(), theirs.ok(), "{ours:?}");
    }
    ours
}

/// What is wrong with a certificate, in whichever dialect it is read.
fn wrong(certificate: &CertificateDer<'_>) -> CertificateError {
    let [one, two] = BOTH.map(|dialect| parsed(certificate, dialect).expect_err("it is wrong"));
    assert_eq!(one, two);
    one
}

/// What a certificate is made of, each of which a test may replace.
struct Made {
    dialect: Dialect,
    own: KeyPair,
    params: CertificateParams,
    peer: Keypair,
}

impl Made {
    fn new(dialect: Dialect) -> Self {
        Self::with(&rcgen::PKCS_ECDSA_P256_SHA256, dialect)
    }

    /// Whose own key is of another kind.
    fn with(kind: &'static SignatureAlgorithm, dialect: Dialect) -> Self {
        Self::of(KeyPair::generate_for(kind).expect("a key"), dialect)
    }

    fn of(own: KeyPair, dialect: Dialect) -> Self {
        let peer = Keypair::generate_ed25519();
        Self { dialect, own, params: CertificateParams::default(), peer }
    }

    fn peer(&self) -> PeerId {
        self.peer.public().to_peer_id()
    }

    /// In which the peer vouches.
    fn extension(&self) -> Vec<u8> {
        let text = signed(self.dialect, &self.own.public_key_der());
        let signature = self.peer.sign(&text).expect("the key can sign");
        yasna::encode_der(&(self.peer.public().encode_protobuf(), signature))
    }

    fn add(mut self, oid: &[u64], content: Vec<u8>, critical: bool) -> Self {
        let mut extension = CustomExtension::from_oid_content(oid, content);
        extension.set_criticality(critical);
        self.params.custom_extensions.push(extension);
        self
    }

    fn add_peer(self) -> Self {
        let extension = self.extension();
        self.add(&EXTENSION, extension, true)
    }

    fn sign(self) -> CertificateDer<'static> {
        self.params.self_signed(&self.own).expect("a certificate").into()
    }
}

/// A certificate that is signed with PKCS #1, as no handshake of TLS 1.3 is.
pub(in crate::transport::security) fn of_pkcs1(
    dialect: Dialect,
) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("rsa2048.pk8")[..]);
    let own = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_RSA_SHA256);
    (Made::of(own.expect("a key"), dialect).add_peer().sign(), key.into())
}

/// A certificate in which something else stands, in every place where it stands.
fn replaced(certificate: &[u8], what: &[u8], by: &[u8]) -> CertificateDer<'static> {
    assert_eq!(what.len(), by.len());
    let mut bytes = certificate.to_vec();
    let mut places = 0;
    for at in 0..bytes.len() - what.len() {
        if bytes[at..].starts_with(what) {
            bytes[at..at + what.len()].copy_from_slice(by);
            places += 1;
        }
    }
    assert!(places > 0, "it is not there");
    bytes.into()
}

#[test]
fn the_vectors_of_the_specification_are_read_as_it_says() {
    let peer = |certificate| parsed(&from_hex(certificate), Dialect::Libp2p);
    let id = |id: &str| Ok(id.parse().expect("a peer id"));
    let ed25519 = peer(vectors::ED25519);
    assert_eq!(ed25519, id("12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv"));
    let ed25519 = peer(vectors::ED25519_OF_LIBP2P_TLS);
    assert_eq!(ed25519, id("12D3KooWJRSrypvnpHgc6ZAgyCni4KcSmbV7uGRaMw5LgMKT18fq"));
    assert_eq!(peer(vectors::ED25519_OF_ANOTHER), Err(CertificateError::PeerSignature));
}

/// Their certificates are well, and their keys of kinds that this library does not compile in.
#[test]
fn the_vectors_of_other_kinds_of_peers_are_read_up_to_the_key() {
    for certificate in [vectors::ECDSA, vectors::SECP256K1, vectors::ECDSA_OF_ANOTHER] {
        let error = wrong(&from_hex(certificate));
        assert!(matches!(error, CertificateError::PeerKey(_)), "{error:?}");
    }
}

#[test]
fn a_vector_of_libp2p_is_one_of_libp2p_where_dep2p_is_expected() {
    let error = parse(&from_hex(vectors::ED25519), Dialect::Dep2p);
    let (expected, found) = (Dialect::Dep2p, Dialect::Libp2p);
    assert_eq!(error, Err(CertificateError::OtherDialect { expected, found }));
}

#[test]
fn what_is_made_is_read_in_its_own_dialect_alone() {
    let keypair = Keypair::generate_ed25519();
    for found in BOTH {
        let (certificate, _) = generate(&keypair, found).expect("a certificate");
        assert_eq!(parsed(&certificate, found), Ok(keypair.public().to_peer_id()));
        let expected = found.other();
        let error = CertificateError::OtherDialect { expected, found };
        assert_eq!(parsed(&certificate, expected), Err(error));
    }
}

#[test]
fn what_libp2p_tls_makes_is_read() {
    let keypair = Keypair::generate_ed25519();
    let (certificate, _) = libp2p_tls::certificate::generate(&keypair).expect("a certificate");
    assert_eq!(parsed(&certificate, Dialect::Libp2p), Ok(keypair.public().to_peer_id()));
}

/// Each with the scheme that signs its handshakes.
#[test]
fn certificates_of_every_kind_of_key_are_read() {
    fn check(made: Made, scheme: SignatureScheme) {
        let (peer, dialect) = (made.peer(), made.dialect);
        let certificate = made.add_peer().sign();
        assert_eq!(parsed(&certificate, dialect), Ok(peer), "{scheme:?}");
        let scheme_of = Unverified::read(&certificate).expect("readable").scheme();
        assert_eq!(scheme_of, Ok(scheme));
        assert!(SCHEMES.contains(&scheme));
    }
    let rsa = |kind| {
        let key = PrivatePkcs8KeyDer::from(&include_bytes!("rsa2048.pk8")[..]);
        KeyPair::from_pkcs8_der_and_sign_algo(&key, kind).expect("a key")
    };
    for dialect in BOTH {
        let of = |kind| Made::with(kind, dialect);
        check(of(&rcgen::PKCS_ECDSA_P256_SHA256), SignatureScheme::ECDSA_NISTP256_SHA256);
        check(of(&rcgen::PKCS_ECDSA_P384_SHA384), SignatureScheme::ECDSA_NISTP384_SHA384);
        check(of(&rcgen::PKCS_ED25519), SignatureScheme::ED25519);
        let of = |kind| Made::of(rsa(kind), dialect);
        check(of(&rcgen::PKCS_RSA_SHA256), SignatureScheme::RSA_PKCS1_SHA256);
        check(of(&rcgen::PKCS_RSA_SHA384), SignatureScheme::RSA_PKCS1_SHA384);
        check(of(&rcgen::PKCS_RSA_SHA512), SignatureScheme::RSA_PKCS1_SHA512);
    }
}

/// Certificates that were made elsewhere, since rcgen makes none.
#[test]
fn certificates_with_a_signature_of_rsa_pss_are_read() {
    let of = |certificate: &'static [u8], scheme| {
        let certificate = CertificateDer::from(certificate);
        parsed(&certificate, Dialect::Libp2p).expect("it is well");
        let scheme_of = Unverified::read(&certificate).expect("readable").scheme();
        assert_eq!(scheme_of, Ok(scheme));
    };
    of(include_bytes!("rsa_pss_sha256.der"), SignatureScheme::RSA_PSS_SHA256);
    of(include_bytes!("rsa_pss_sha384.der"), SignatureScheme::RSA_PSS_SHA384);
    of(include_bytes!("rsa_pss_sha512.der"), SignatureScheme::RSA_PSS_SHA512);
}

#[test]
fn other_extensions_are_ignored_unless_they_are_critical() {
    for dialect in BOTH {
        let made = Made::new(dialect).add(&[1, 2, 3], vec![5, 0], false);
        let peer = made.peer();
        assert_eq!(parsed(&made.add_peer().sign(), dialect), Ok(peer));
    }
    for before in [true, false] {
        let made = Made::new(Dialect::Libp2p);
        let made = if before { made.add_peer() } else { made };
        let made = made.add(&[1, 2, 3], vec![5, 0], true);
        let made = if before { made } else { made.add_peer() };
        let error = CertificateError::CriticalExtension("1.2.3".to_owned());
        assert_eq!(wrong(&made.sign()), error);
    }
}

#[test]
fn the_extension_of_libp2p_need_not_be_critical() {
    for dialect in BOTH {
        let made = Made::new(dialect);
        let (peer, extension) = (made.peer(), made.extension());
        assert_eq!(parsed(&made.add(&EXTENSION, extension, false).sign(), dialect), Ok(peer));
    }
}

#[test]
fn a_certificate_that_names_no_peer_is_refused() {
    assert_eq!(wrong(&Made::new(Dialect::Libp2p).sign()), CertificateError::NoPeer);
}

#[test]
fn a_certificate_that_names_a_peer_twice_is_refused() {
    let certificate = Made::new(Dialect::Libp2p).add_peer().add_peer().sign();
    assert_eq!(wrong(&certificate), CertificateError::SeveralPeers);
}

#[test]
fn an_extension_that_is_not_two_octet_strings_is_refused() {
    let whole = Made::new(Dialect::Libp2p).extension();
    let three = yasna::encode_der(&(vec![1_u8], vec![2_u8], vec![3_u8]));
    let longer = [&whole[..], &[0]].concat();
    for malformed in [&[][..], &[0x30, 0], &[0xff; 9], &whole[..50], &three, &longer] {
        let made = Made::new(Dialect::Libp2p).add(&EXTENSION, malformed.to_vec(), true);
        assert_eq!(wrong(&made.sign()), CertificateError::MalformedPeer, "{malformed:x?}");
    }
}

#[test]
fn a_peer_without_a_usable_key_is_refused() {
    let short = Keypair::generate_ed25519().public().encode_protobuf()[..20].to_vec();
    for key in [vec![], vec![8, 1, 0x12, 0], vec![8, 9, 0x12, 1, 1], short] {
        let extension = yasna::encode_der(&(key, vec![0_u8; 64]));
        let error = wrong(&Made::new(Dialect::Libp2p).add(&EXTENSION, extension, true).sign());
        assert!(matches!(error, CertificateError::PeerKey(_)), "{error:?}");
    }
}

#[test]
fn a_certificate_for_which_somebody_else_has_signed_is_refused() {
    for dialect in BOTH {
        let mut made = Made::new(dialect);
        let somebody = made.extension();
        made.own = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).expect("a key");
        let certificate = made.add(&EXTENSION, somebody, true).sign();
        assert_eq!(wrong(&certificate), CertificateError::PeerSignature, "another key's");
    }
    let made = Made::new(Dialect::Libp2p);
    let text = signed(Dialect::Libp2p, &made.own.public_key_der());
    let forger = Keypair::generate_ed25519().sign(&text).expect("the key can sign");
    let forged = yasna::encode_der(&(made.peer.public().encode_protobuf(), forger));
    let certificate = made.add(&EXTENSION, forged, true).sign();
    assert_eq!(wrong(&certificate), CertificateError::PeerSignature, "another peer's");
}

#[test]
fn a_certificate_is_valid_within_its_time_alone() {
    for (from, until) in [(1970, 1975), (4000, 4096)] {
        let mut made = Made::new(Dialect::Libp2p);
        made.params.not_before = date_time_ymd(from, 1, 1);
        made.params.not_after = date_time_ymd(until, 1, 1);
        let certificate = made.add_peer().sign();
        assert_eq!(wrong(&certificate), CertificateError::NotValidNow, "{from} to {until}");
    }
}

#[test]
fn a_certificate_that_was_changed_after_it_was_signed_is_refused() {
    let made = Made::new(Dialect::Libp2p).add(&[1, 2, 3], b"what it says".to_vec(), false);
    let certificate = replaced(&made.add_peer().sign(), b"what it says", b"what we want");
    assert_eq!(wrong(&certificate), CertificateError::SelfSignature);
}

#[test]
fn a_certificate_that_somebody_else_has_signed_is_refused() {
    let (made, issuer) = (Made::new(Dialect::Libp2p).add_peer(), Made::new(Dialect::Libp2p));
    let root = issuer.params.self_signed(&issuer.own).expect("a certificate");
    let issued = made.params.signed_by(&made.own, &root, &issuer.own).expect("a certificate");
    assert_eq!(wrong(&issued.into()), CertificateError::SelfSignature);
}

const WITH_SHA256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];

#[test]
fn a_curve_that_is_not_named_is_refused() {
    let mut bytes = P256;
    bytes[0] = 4;
    let certificate = Made::new(Dialect::Libp2p).add_peer().sign();
    assert_eq!(wrong(&replaced(&certificate, &P256, &bytes)), CertificateError::UnnamedCurve);
}

#[test]
fn a_hash_that_does_not_go_with_the_curve_is_refused() {
    for last in [3, 4] {
        let mut longer = WITH_SHA256;
        longer[9] = last;
        let certificate = Made::new(Dialect::Libp2p).add_peer().sign();
        let error = wrong(&replaced(&certificate, &WITH_SHA256, &longer));
        assert_eq!(error, CertificateError::Algorithm(format!("1.2.840.10045.4.3.{last}")));
    }
}

/// A key of RSA, and a signature whose hash is one of MD5, SHA-1 and SHA-224.
#[test]
fn a_weak_hash_is_refused() {
    let key = PrivatePkcs8KeyDer::from(&include_bytes!("rsa2048.pk8")[..]);
    let key = KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_RSA_SHA256);
    let made = Made::of(key.expect("a key"), Dialect::Libp2p).add_peer();
    let certificate = made.sign();
    let with = |last| [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last];
    for weak in [4, 5, 14] {
        let error = wrong(&replaced(&certificate, &with(11), &with(weak)));
        assert_eq!(error, CertificateError::Algorithm(format!("1.2.840.113549.1.1.{weak}")));
    }
}

/// libp2p-tls reads the key as what the signature says that it is.
#[test]
fn a_key_that_does_not_go_with_the_signature_is_refused() {
    let certificate = Made::with(&rcgen::PKCS_ED25519, Dialect::Libp2p).add_peer().sign();
    let ed25519 = [6, 3, 0x2b, 0x65, 0x70];
    let places = certificate.windows(5).enumerate().filter(|(_, oid)| *oid == ed25519);
    // The first one is that of the signature, as far as it is signed itself.
    let [_, key, signature] = places.map(|(at, _)| at).collect::<Vec<_>>()[..] else {
        panic!("an algorithm is named three times");
    };
    for (place, told) in [(key, "1.3.101.112"), (signature, "1.3.101.110")] {
        let mut bytes = certificate.to_vec();
        bytes[place + 4] = 0x6e;
        let error = parse(&bytes.into(), Dialect::Libp2p);
        assert_eq!(error, Err(CertificateError::Algorithm(told.to_owned())));
    }
}

#[test]
fn what_is_no_certificate_is_refused_wherever_it_ends() {
    assert_eq!(wrong(&b"not a certificate".to_vec().into()), CertificateError::NotX509);
    let certificate = Made::new(Dialect::Libp2p).add_peer().sign();
    for end in 0..certificate.len() {
        wrong(&certificate[..end].to_vec().into());
    }
}
