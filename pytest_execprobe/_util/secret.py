"""What is a secret in command lines: names and arguments, as docs/secrets.md shows them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from .expressions import expression


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: How the names of options, variables, headers and JSON keys end whose values are secret.
ENDINGS = _words(
    "password passwd passphrase passcode token secret apikey secretkey storepass keypass sshpass requirepass"
    " masterauth dbpass userpass"
)
#: Whole last words of such names.
LAST = ("pass", "pwd", "pw", "upw", "opw", "psk", "credential")
#: What a key is of, where it is a secret: ``--api-key``.
KEYS = _words(
    "access account api app application auth client consumer decryption deploy encryption license master private"
    " secret shared signing storage subscription"
)
#: Options that begin with these take no value.
NEGATIONS = _words("no ask prompt with without skip use require disable disabled enable generate get has print show")
#: Headers that are secret as a whole, besides those whose names are like the above.
HEADERS = ("authorization", "proxy-authorization", "cookie", "set-cookie")
#: The schemes of the first two, which are shown.
SCHEMES = ("bearer", "basic", "token", "digest", "negotiate", "apikey")
#: How tokens begin that services make for themselves, wherever they stand.
TOKENS = _words(
    "ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- npm_ pypi-Ag hvs. hvb. xoxb- xoxp- sk_live_ rk_live_ sk-ant-"
    " sk-proj- dop_v1_ shpat_ AIza eyJ hf_ sk_test_ whsec_ xapp- glrt- dckr_pat_ tskey- ya29. SG. AGE-SECRET-KEY-"
)

#: How an argument of a known program holds a secret: what of it is hidden, and how the docs write that.
VALUE, ATTACHED, OF_USER, OF_USER_PERCENT, OF_USER_COMMA, OF_URL, PASS, NAMED, EACH, POSITIONAL = (
    *("SECRET", "-oSECRET", "user:SECRET", "user%SECRET", "user,SECRET", "user:SECRET@host", "pass:SECRET"),
    *("NAME SECRET", "name=SECRET", "SECRET alone"),
)
OF_LOGIN, KEY, GREATER = "user/SECRET@db", "key:SECRET", ">SECRET"


@dataclass(frozen=True)
class Known:
    """Arguments of a program that mean something else for others."""

    programs: tuple[str, ...]
    options: tuple[str, ...]
    how: str = VALUE
    #: The subcommand to which it belongs, in small letters, empty for any; of options any that is given; of what ends
    #: with a dot how it begins.
    within: tuple[str, ...] = ()
    #: Short options without a value that may stand in front of it in one word.
    flags: str = ""
    #: Whether the value of a short option can stand in one word with it.
    attached: bool = True


def _known(
    programs: str, options: str, how: str = VALUE, within: str = "", flags: str = "", *, attached: bool = True
) -> Iterator[Known]:
    """One for each of the alternatives of ``within``, between which there are bars."""
    for one in within.split("|"):
        yield Known(_words(programs), _words(options), how, _words(one), flags, attached)


_MYSQL = "mysql mysqldump mysqladmin mysqlimport mysqlcheck mysqlshow mysqlslap mysqlpump mysql_upgrade mysqlsh"
_MYSQL += " mariadb mariadb-dump mariadb-admin mariadb-import mariadb-check mariadb-show mariadb-backup mariabackup"
_MONGO = "mongo mongosh mongodump mongorestore mongoexport mongoimport mongostat mongotop"
_LDAP = "ldapsearch ldapadd ldapmodify ldapdelete ldapmodrdn ldappasswd ldapcompare ldapwhoami ldapexop"
_CURL = "#01234679aBfGgIijJkLlMNnOpqRsSvVZ"
KNOWN = tuple(
    chain(
        _known(_MYSQL, "-p --password", ATTACHED),
        _known("mysqladmin mariadb-admin", "", POSITIONAL, within="password"),
        _known("mysqlsh", "--uri", OF_URL),
        _known("mysqlsh", "", OF_URL),
        _known("mycli", "-p --pass"),
        _known("curl", "-u --user -U --proxy-user -E --cert", OF_USER, flags=_CURL),
        _known("curl", "-x --proxy", OF_URL, flags=_CURL),
        _known("curl", "-b --cookie", EACH, flags=_CURL),
        _known("curl", "--oauth2-bearer --pass --proxy-pass --tlspassword"),
        _known("http https xh xhs", "-a --auth", within="-A | --auth-type"),
        _known("http https xh xhs", "-a --auth", OF_USER),
        _known("xh xhs", "--bearer"),
        _known("docker podman buildah nerdctl", "-p", within="login"),
        _known("oc cf crane helm az skopeo oras cosign ibmcloud", "-p", within="login"),
        _known("skopeo podman buildah", "--creds --src-creds --dest-creds", OF_USER),
        _known("az", "-p", within="server create | flexible-server create"),
        _known("az", "--value", within="keyvault secret"),
        _known("az", "--key-value", within="keys"),
        _known("aws", "", NAMED, within="configure set"),
        _known("aws", "--secret-string --secret-binary --token-code"),
        _known("aws", "--value", within="ssm put-parameter"),
        _known("npm pnpm yarn pip pip3 git poetry gcloud gh pulumi redis-cli rclone", "", NAMED, within="config"),
        _known("npm pnpm yarn", "", NAMED, within="set"),
        _known("npm pnpm yarn", "--otp"),
        _known("poetry", "", POSITIONAL, within="config pypi-token."),
        _known("poetry composer", "", POSITIONAL, within="config http-basic."),
        _known("composer", "", POSITIONAL, within="config github-oauth. | config gitlab-token. | config gitlab-oauth."),
        _known("composer", "", POSITIONAL, within="config bitbucket-oauth. | config bearer."),
        _known("bundle bundler", "", OF_USER, within="config"),
        _known("pulumi", "", POSITIONAL, within="config set --secret"),
        _known("pulumi", "--secret", EACH, within="set-all"),
        _known("rclone", "", POSITIONAL, within="obscure"),
        _known("jq gojq jaq", "", NAMED, within="--arg | --argjson"),
        _known("nmcli wpa_cli pppd pdftk", "", NAMED),
        _known("wpa_cli", "", POSITIONAL, within="password"),
        _known("redis-cli", "-a --pass"),
        _known("redis-cli", "", POSITIONAL, within="auth"),
        _known("redis-cli", "", GREATER, within="acl setuser"),
        _known("sshpass", "-p", flags="v"),
        _known("openssl", "-passin -passout -pass", PASS),
        _known("openssl", "-macopt -kdfopt", KEY),
        _known("openssl", "-k -K -hmac", attached=False),
        _known("openssl", "", POSITIONAL, within="passwd"),
        _known("twine", "-p"),
        _known("poetry uv", "-p", within="publish"),
        _known("uv", "-t", within="publish"),
        _known("hatch", "-a --auth", within="publish"),
        _known("kubectl oc", "--from-literal", EACH, within="secret"),
        _known("kubectl oc", "-p --patch", within="patch secret"),
        _known("vault bao", "", POSITIONAL, within="login | unwrap | operator unseal | operator rekey"),
        _known("vault bao", "", POSITIONAL, within="token lookup | token renew | token revoke"),
        _known("vault bao", "", EACH, within="kv | write"),
        _known("heroku", "", EACH, within="config:set"),
        _known("fly flyctl", "", EACH, within="secrets"),
        _known("infisical", "", EACH, within="secrets set"),
        _known("doppler", "", POSITIONAL, within="secrets set"),
        _known("chamber", "", POSITIONAL, within="write"),
        _known("sops", "", POSITIONAL, within="set"),
        _known("sops", "--set"),
        _known("cargo", "", POSITIONAL, within="login"),
        _known("gh", "-b --body", within="secret"),
        _known("dotnet", "-k", within="push"),
        _known("dotnet", "", POSITIONAL, within="user-secrets set"),
        _known("nuget", "", POSITIONAL, within="setapikey"),
        _known("smbclient rpcclient net winexe", "-U --user", OF_USER_PERCENT),
        _known(_LDAP, "-w", flags="AcMnuvxZ"),
        _known("ldappasswd", "-s -a"),
        _known(_MONGO, "-p"),
        _known("lftp", "-u --user", OF_USER_COMMA),
        _known("sqlcmd bcp tsql isql", "-P"),
        _known("sqlplus sqlldr expdp impdp rman", "", OF_LOGIN),
        _known("cypher-shell rabbitmqadmin", "-p"),
        _known("neo4j-admin", "", POSITIONAL, within="set-initial-password"),
        _known("grafana grafana-cli", "", POSITIONAL, within="reset-admin-password"),
        _known("influx", "-t"),
        _known("influx", "-p", within="setup"),
        _known("etcdctl", "--user", OF_USER),
        _known("transmission-remote", "-n --auth", OF_USER),
        _known("lynx jenkins-cli jenkins-cli.jar", "-auth", OF_USER),
        _known("zip unzip mosquitto_pub mosquitto_sub ipmitool", "-P", flags="jqrv"),
        _known("7z 7za 7zz 7zr rar unrar", "-p -hp", ATTACHED),
        _known("ssh-keygen", "-N -P", flags="cepqy"),
        _known("gpg-preset-passphrase", "-P"),
        _known("keytool", "-new"),
        _known("pk12util", "-W -K"),
        _known("kadmin", "-w"),
        _known("addprinc add_principal ank cpw change_password", "-pw"),
        _known("keyctl", "", POSITIONAL, within="add"),
        _known("iscsiadm", "-v --value", within="node.session.auth.password"),
        _known("qpdf", "", POSITIONAL, within="--encrypt"),
        _known("virsh", "--base64", within="secret-set-value"),
        _known("virsh", "", POSITIONAL, within="secret-set-value"),
        _known("useradd usermod ncftpput ncftpget rdesktop cqlsh yt-dlp youtube-dl", "-p"),
        _known("xfreerdp wlfreerdp", "/p:", ATTACHED),
        _known("rabbitmqctl", "", POSITIONAL, within="add_user | change_password | authenticate_user"),
        _known("htpasswd mosquitto_passwd", "", POSITIONAL),
        _known("wpa_passphrase mkpasswd", "", POSITIONAL),
        _known("wandb", "", POSITIONAL, within="login"),
        _known("ngrok", "", POSITIONAL, within="authtoken | add-authtoken"),
        _known("ansible-vault", "", POSITIONAL, within="encrypt_string"),
        _known("snmpget snmpwalk snmpset", "-c -A -X"),
        _known("snyk cf", "", POSITIONAL, within="auth"),
        _known("codecov glab doctl vercel", "-t"),
        _known("netlify", "--auth"),
        _known("gitlab-runner", "-r -t", within="register"),
        _known("travis", "", POSITIONAL, within="encrypt"),
        _known("op bw", "--session"),
        _known("bw", "", POSITIONAL, within="unlock | login"),
        _known("swift", "-K"),
        _known("mc", "", POSITIONAL, within="alias set | config host"),
        _known("b2", "", POSITIONAL, within="authorize-account | account authorize"),
        _known("sonar-scanner mvn", "-Dsonar.login=", ATTACHED),
    )
)
#: Programs that read a secret from standard input: with which argument, empty if always.
FROM_STDIN: dict[str, str] = {
    **dict.fromkeys(("chpasswd", "passwd", "kinit", "cryptsetup"), ""),
    **{"sudo": r"-[A-Za-z]*S|--stdin", "smbpasswd": "-[a-z]*s", "htpasswd": "-[A-Za-z0-9]*i[A-Za-z]*"},
    **dict.fromkeys(("gpg", "gpg2", "gpgsm"), "--passphrase-fd(?:=.*)?"),
    **dict.fromkeys(("gh", "wrangler"), "secret"),
    **dict.fromkeys(("fly", "flyctl"), "secrets"),
    **dict.fromkeys(("vault", "bao"), "login|[^=]+=-"),
    **{"gcloud": "--data-file=-", "kubectl": "--from-file=(?:[^=]+=)?/dev/stdin", "openssl": "stdin"},
    "ansible-vault": "encrypt_string",
}
#: Programs whose ``--password`` stands alone, and is a question: what follows it is no secret.
ASKING = ("psql", "pg_dump", "pg_restore", "pg_dumpall", "createdb", "dropdb", "createuser", *_MYSQL.split())
#: Programs whose ``--secret`` says which one, and not what it is.
NAMING = ("docker", "podman", "buildah", "nerdctl", "buildctl", "pulumi")

#: Programs for which an argument behind ``-c`` is a command line.
SHELLS = frozenset(("sh", "ash", "bash", "dash", "fish", "ksh", "mksh", "su", "zsh"))

PROGRAMS: dict[str, list[Known]] = {}
for _rule in KNOWN:
    for _name in _rule.programs:
        PROGRAMS.setdefault(_name, []).append(_rule)

#: ``--authkey``; git's user.signingkey is a public one's name.
_JOINED = frozenset(f"{word}key" for word in KEYS if word != "signing")
_CAMEL = expression(r"(?<=[a-z0-9])(?=[A-Z])")
_BETWEEN = expression(r"[^A-Za-z0-9]+")


def words_of(name: str) -> list[str]:
    """``--apiKey`` and ``API_KEY`` are both api, key."""
    return [word for word in _BETWEEN.split(_CAMEL.sub("-", name[-256:]).lower()) if word]


def is_secret(name: str) -> bool:
    """Whether what is called so is a secret: an option, a key, a header."""
    words = words_of(name)
    if not words or name == "PWD":
        return False
    last = words[-1]
    of_key = (last == "key" and len(words) > 1 and words[-2] in KEYS) or last in _JOINED
    return last.endswith(ENDINGS) or "".join(words[-2:]).endswith(ENDINGS) or last in LAST or of_key


def is_secret_variable(name: str) -> bool:
    """Whether what is assigned to it is: of variables, all that end with KEY or AUTH, too."""
    is_upper = name.isupper() and words_of(name)[-1:] in (["key"], ["auth"])
    return is_upper or is_secret(name) or name.endswith("_auth")


def is_signature(name: str) -> bool:
    """Whether what a URL's query calls so lets in whoever has it."""
    return words_of(name)[-1:] in (["sig"], ["signature"])


def takes_secret(option: str) -> bool:
    """Whether an option without ``=`` has a secret for its next argument."""
    return is_secret(option) and words_of(option)[0] not in NEGATIONS
