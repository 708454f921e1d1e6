"""What texts show of arguments: the forms in which tools take secrets, as their documentation has them."""

from __future__ import annotations

import shlex
import string
from resource import RUSAGE_SELF, getrusage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_execprobe._util.apparent import HIDDEN
from pytest_execprobe._util.hiding import covers, quoted
from pytest_execprobe._util.redaction import Redaction, compile_redaction

#: What is shown stands for S3cr3t by ``•••``; everything else stays.
LINES = [
    # names of options
    "prog --password S3cr3t file",
    "prog --password=S3cr3t file",
    "prog -password S3cr3t",
    "prog -token=S3cr3t",
    "prog --api-key S3cr3t",
    "prog --api_key=S3cr3t",
    "prog --apiKey S3cr3t",
    "prog --API-KEY=S3cr3t",
    "prog --client-secret S3cr3t --verbose",
    "prog --github-token=S3cr3t",
    "prog --secret S3cr3t",
    "prog --secret-access-key S3cr3t",
    "prog --db.password=S3cr3t",
    "prog --passphrase S3cr3t",
    "java -Djavax.net.ssl.keyStorePassword=S3cr3t -jar app.jar",
    "keytool -list -storepass S3cr3t -keypass S3cr3t",
    "gpg --batch --pass-phrase S3cr3t --sign file",
    "gpg --batch --passphrase S3cr3t --sign file",
    "gradle -PsigningPassword=S3cr3t publish",
    # assignments
    "env API_KEY=S3cr3t KEY=S3cr3t make",
    "env GITHUB_TOKEN=S3cr3t PGPASSWORD=S3cr3t psql -h db",
    "env REDISCLI_AUTH=S3cr3t MYSQL_PWD=S3cr3t DB_PASS=S3cr3t mysql",
    "env AWS_SECRET_ACCESS_KEY=S3cr3t aws s3 ls",
    "docker run -e POSTGRES_PASSWORD=S3cr3t postgres",
    "ansible-playbook -e db_password=S3cr3t site.yml",
    "ansible-playbook -e 'x_password=S3cr3t user=me' site.yml",
    "helm upgrade app --set db.password=S3cr3t,replicas=3 --password S3cr3t",
    "terraform apply -var db_password=S3cr3t",
    "az storage blob list --connection-string 'AccountName=a;AccountKey=S3cr3t;EndpointSuffix=x'",
    "sqlpackage '/TargetConnectionString:Server=db;Uid=me;Pwd=S3cr3t;Database=x'",
    # URLs
    "git clone https://x-access-token:S3cr3t@github.com/o/r.git",
    "git clone https://oauth2:S3cr3t@gitlab.com/o/r.git",
    "git remote add origin https://me:S3cr3t@host:8443/r",
    "git clone https://S3cr3t0123456789abcdef@github.com/o/r.git",
    "git clone https://S3cr3t0123456789abcdef:x-oauth-basic@github.com/o/r.git",
    "psql postgresql://u:S3cr3t@h/db",
    "psql postgresql://u:S3cr/3t@h/db",
    "pip install -i https://u:S3cr3t@packages.example/a x",
    "pip install --find-links=https://u:S3cr3t@packages.example/a x",
    "redis-cli -u redis://default:S3cr3t@h:6379/0",
    "curl https://h/x?access_token=S3cr3t&page=2",
    "curl https://h/x?api_key=S3cr3t",
    "mongosh mongodb+srv://u:S3cr3t@cluster/db",
    "curl -x http://u:S3cr3t@proxy:3128 https://h/",
    # what only some programs take so
    "mysql -pS3cr3t -u root db",
    "mysql --password=S3cr3t db",
    "mysqldump -uroot -pS3cr3t db",
    "curl -u user:S3cr3t https://h/",
    "curl -uuser:S3cr3t https://h/",
    "curl -sSfu user:S3cr3t https://h/",
    "curl --user user:S3cr3t https://h/",
    "curl --user=user:S3cr3t https://h/",
    "curl -U user:S3cr3t -x proxy:3128 https://h/",
    "curl -H 'Authorization: Bearer S3cr3t' https://h/",
    "curl -H 'Authorization: S3cr3t' https://h/",
    "curl --header 'Authorization: token S3cr3t' https://h/",
    "curl -H Authorization:S3cr3t https://h/",
    "curl -H 'X-Auth-Token: S3cr3t' https://h/",
    "docker run --env=API_TOKEN=S3cr3t image",
    "kubectl config set-credentials me --token=S3cr3t",
    "curl -d 'user=me&password=S3cr3t&n=1' https://h/",
    "curl -H 'PRIVATE-TOKEN: S3cr3t' https://h/",
    "curl -H 'X-Api-Key: S3cr3t' https://h/",
    "curl -H 'Cookie: S3cr3t' https://h/",
    "curl -b session=S3cr3t https://h/",
    "curl --cookie session=S3cr3t https://h/",
    "curl --oauth2-bearer S3cr3t https://h/",
    "wget --password=S3cr3t --http-password=S3cr3t https://h/",
    "wget --header='Authorization: Bearer S3cr3t' https://h/",
    "http -a user:S3cr3t GET h",
    "docker login -u me -p S3cr3t registry",
    "docker login -u me -pS3cr3t registry",
    "docker login --password S3cr3t registry",
    "podman login -p S3cr3t registry",
    "skopeo copy --src-creds me:S3cr3t docker://a docker://b",
    "git -c http.extraheader='AUTHORIZATION: basic S3cr3t' fetch",
    "git -c 'http.https://github.com/.extraheader=AUTHORIZATION: basic S3cr3t' fetch",
    "aws configure set aws_secret_access_key S3cr3t",
    "aws configure set profile.x.aws_session_token S3cr3t",
    "npm config set //registry.npmjs.org/:_authToken=S3cr3t",
    "npm config set //registry.npmjs.org/:_authToken S3cr3t",
    "npm publish --//registry.npmjs.org/:_authToken=S3cr3t",
    "git config github.token S3cr3t",
    "psql 'host=h password=S3cr3t dbname=x'",
    "psql 'password=S3cr3t host=h dbname=x'",
    "psql \"host=h password='S3cr3t' dbname=x\"",
    "redis-cli -h h -a S3cr3t ping",
    "redis-cli --pass S3cr3t ping",
    "sshpass -p S3cr3t ssh h",
    "sshpass -pS3cr3t ssh h",
    "openssl rsa -in k.pem -passin pass:S3cr3t",
    "openssl pkcs12 -passout pass:S3cr3t -passin env:X",
    "openssl enc -aes-256-cbc -k S3cr3t",
    "twine upload -u me -p S3cr3t dist/x",
    "python3 -m twine upload -p S3cr3t dist/x",
    "kubectl --token S3cr3t get pods",
    "kubectl create secret generic x --from-literal=k=S3cr3t",
    "kubectl create secret generic x --from-literal k=S3cr3t",
    "helm registry login -p S3cr3t h",
    "az login --service-principal -u me -p S3cr3t --tenant t",
    "gcloud sql users set-password me --password=S3cr3t",
    "vault login S3cr3t",
    "vault login -method=userpass username=me password=S3cr3t",
    "vault kv put secret/x any=S3cr3t",
    "smbclient -U user%S3cr3t //h/share",
    "smbclient //h/share --user=user%S3cr3t",
    "ldapsearch -x -D cn=me -w S3cr3t -b dc=x",
    "ldapsearch -xw S3cr3t -b dc=x",
    "mongo -u me -p S3cr3t h/db",
    "mongodump --password=S3cr3t",
    "lftp -u me,S3cr3t h",
    "sqlcmd -S h -U me -P S3cr3t",
    "unzip -P S3cr3t a.zip",
    "7z x -pS3cr3t a.7z",
    "ssh-keygen -t ed25519 -N S3cr3t -f k",
    "xfreerdp /u:me /p:S3cr3t /v:h",
    "cargo login S3cr3t",
    # tokens whose looks are known
    "gh auth login ghp_S3cr3t0123456789abcdefghij",
    "tool eyJS3cr3tS3cr3tS3cr3t.eyJzdWIiOiIx.abc-def",
    # JSON
    """curl -d '{"user": "me", "password": "S3cr3t", "n": 1}' https://h/""",
    r"""curl -d '{"a":"{\"token\":\"S3cr3t\"}"}' https://h/""",
    """tool "{'api_key': 'S3cr3t', 'n': 1}" """,
    # command lines within arguments
    "sh -c 'curl -u a:S3cr3t https://h/ | tar x'",
    "sh -c 'FOO_TOKEN=S3cr3t cmd && other'",
    "sh -c \"FOO_TOKEN='S3cr3t' cmd; mysql -pS3cr3t\"",
    "sh -c 'echo $(curl -u a:S3cr3t h) > x'",
    """bash -lc "sh -c 'docker login -p S3cr3t'" """,
    "ssh h 'mysql -pS3cr3t db'",
    "sudo -u me env X=1 mysql -pS3cr3t db",
    "docker exec -it db mysql -pS3cr3t",
    "ssh -o 'ProxyCommand=sshpass -p S3cr3t ssh gate nc %h %p' h",
    "timeout 5 sshpass -p S3cr3t ssh h",
    "xargs -n 1 curl -u a:S3cr3t",
    "tailscale up --authkey=S3cr3t",
    "prog --privatekey S3cr3t",
    "redis-server --requirepass S3cr3t",
    "redis-cli config set requirepass S3cr3t",
    "env SSHPASS=S3cr3t sshpass -e ssh h",
    """python3 -c "import os; os.environ['API_TOKEN'] = 'S3cr3t'" """,
    # addresses and keys
    "curl 'https://acct.blob.core.windows.net/c/b?sv=2020&sig=S3cr3t&se=1'",
    "curl 'https://b.s3.amazonaws.com/x?X-Amz-Expires=60&X-Amz-Signature=S3cr3t'",
    "curl https://hooks.slack.com/services/T00000000/B00000000/S3cr3t0123456789",
    "curl https://discord.com/api/webhooks/123/S3cr3t0123456789abc",
    "curl https://api.telegram.org/bot123:S3cr3t0123456789abc/sendMessage",
    "prog '-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nS3cr3t\n-----END RSA PRIVATE KEY-----'",
    "prog '-----BEGIN PRIVATE KEY-----\nS3cr3t'",
    # SQL
    "psql -c \"ALTER USER me WITH ENCRYPTED PASSWORD 'S3cr3t'\"",
    "mysql -e \"CREATE USER 'a'@'b' IDENTIFIED BY 'S3cr3t'\"",
    # what a shell hands on
    "sh -c 'echo S3cr3t | docker login --password-stdin -u me'",
    "sh -c 'printf %s S3cr3t | gh auth login --with-token'",
    "sh -c 'prog --token \\\n  S3cr3t'",
    "sh -c 'curl \\\n  -u \\\n me:S3cr3t h'",
    # further programs
    "poetry publish -u me -p S3cr3t",
    "uv publish -t S3cr3t",
    "hatch publish -u __token__ -a S3cr3t",
    "skopeo login -p S3cr3t registry",
    "fly secrets set FOO=S3cr3t",
    "openssl passwd -6 S3cr3t",
    "openssl dgst -sha256 -hmac S3cr3t file",
    "zip -rP S3cr3t a.zip x",
    "curl -x me:S3cr3t@proxy:80 h",
    "prog dckr_pat_S3cr3t0123456789abcdef",
    "prog hf_S3cr3t0123456789abcdefgh",
    # as one tool each documents it
    """kubectl patch secret x -p '{"data": {"any": "S3cr3t"}}'""",
    "http -A bearer -a S3cr3t GET h",
    "http --auth-type=bearer --auth=S3cr3t GET h",
    """http POST h password:='"S3cr3t"' """,
    "xh --bearer S3cr3t h",
    "az keyvault secret set --vault-name v --name n --value S3cr3t",
    "az sql server create -u me -p S3cr3t",
    "az rest --headers Authorization='Bearer S3cr3t'",
    "aws secretsmanager create-secret --name n --secret-string S3cr3t",
    "aws ssm put-parameter --name n --value S3cr3t --type SecureString",
    "aws cloudformation create-stack --parameters ParameterKey=DbPassword,ParameterValue=S3cr3t",
    """aws ecs run-task --overrides '{"environment": [{"name": "DB_PASSWORD", "value": "S3cr3t x"}]}'""",
    "npm set //registry.npmjs.org/:_authToken S3cr3t",
    "npm config set _auth S3cr3t",
    "npm publish --otp S3cr3t",
    "poetry config pypi-token.pypi S3cr3t",
    "poetry config http-basic.foo me S3cr3t",
    "composer config --global --auth github-oauth.github.com S3cr3t",
    "bundle config set gems.example.org me:S3cr3t",
    "pulumi config set name S3cr3t --secret",
    "pulumi config set-all --secret a=S3cr3t --plaintext b=c",
    "vault operator unseal S3cr3t",
    "vault unwrap S3cr3t",
    "vault token lookup S3cr3t",
    """sops --set '["db"]["user"] "S3cr3t"' f.yaml""",
    """sops set f.yaml '["db"]["user"]' '"S3cr3t"'""",
    "doppler secrets set A S3cr3t",
    "redis-cli -h h AUTH S3cr3t",
    "redis-cli CONFIG SET requirepass S3cr3t",
    "redis-cli config set masterauth S3cr3t",
    "redis-cli ACL SETUSER me on >S3cr3t",
    "openssl dgst -mac HMAC -macopt hexkey:S3cr3t f",
    "openssl s_client -psk S3cr3t -connect h",
    "ssh-keygen -qN S3cr3t -f k",
    "gpg-preset-passphrase --preset -P S3cr3t GRIP",
    "keytool -storepasswd -new S3cr3t -storepass S3cr3t",
    "kadmin.local -q 'addprinc -pw S3cr3t me'",
    "pk12util -i f -W S3cr3t -K S3cr3t",
    "qpdf --encrypt S3cr3t S3cr3t 256 -- in out",
    "pdftk f input_pw S3cr3t output g",
    "pdftotext -upw S3cr3t f",
    "plink -pw S3cr3t h",
    "qemu-img create -f luks --object secret,id=s0,data=S3cr3t x 1G",
    "virsh secret-set-value u S3cr3t",
    "keyctl add user k S3cr3t @u",
    "iscsiadm -m node -o update -n node.session.auth.password -v S3cr3t",
    "nmcli dev wifi connect ssid password S3cr3t",
    "nmcli con modify x wifi-sec.psk S3cr3t",
    "wpa_cli set_network 0 psk S3cr3t",
    "jq -n --arg shown x --arg api_key S3cr3t .",
    "mysqladmin -u root password S3cr3t",
    "mysqlsh me:S3cr3t@h:3306",
    "mysqlsh --uri me:S3cr3t@h:3306",
    "mariadb-import -pS3cr3t db",
    "mysql -e \"SET PASSWORD FOR 'a'@'b' = 'S3cr3t'\"",
    "mysql -e \"SET PASSWORD FOR a = PASSWORD('S3cr3t')\"",
    "mysql -e \"ALTER USER a IDENTIFIED WITH mysql_native_password BY 'S3cr3t'\"",
    "sqlplus -S scott/S3cr3t@//h:1521/x",
    "sqlldr userid=scott/S3cr3t control=x.ctl",
    "rabbitmqctl authenticate_user me S3cr3t",
    "mosquitto_passwd -b f me S3cr3t",
    "transmission-remote --auth me:S3cr3t -l",
    "java -jar jenkins-cli.jar -auth me:S3cr3t who-am-i",
    "lynx -auth=me:S3cr3t h",
    "mvn -Dsonar.login=S3cr3t sonar:sonar",
    "mc alias set m http://h me S3cr3t",
    "bw unlock S3cr3t",
    "netlify deploy --auth S3cr3t",
    "dotnet user-secrets set k:n S3cr3t",
    "conda install -c https://conda.anaconda.org/t/tk-S3cr3t0123/me x",
    "ffmpeg -decryption_key S3cr3t -i x",
    "sh -c 'echo S3cr3t | sudo -S ls'",
    "sh -c 'echo me:S3cr3t | sudo chpasswd'",
    "sh -c 'echo S3cr3t | gpg --passphrase-fd 0 -c f'",
    "sh -c 'printf %s S3cr3t | cryptsetup luksFormat /dev/x -'",
    "bash -c 'sudo -S ls <<< S3cr3t'",
    "sh -c 'yes S3cr3t | passwd root'",
    "sh -c 'echo S3cr3t | gh secret set X'",
    "sh -c 'printf S3cr3t | gcloud secrets versions add x --data-file=-'",
    "sh -c 'echo S3cr3t | openssl enc -pass stdin -in x'",
    "sh -c 'echo \"machine h login me password S3cr3t\" > ~/.netrc'",
    "sh -c \"printf 'machine h\\nlogin me\\npassword S3cr3t\\n' > x\"",
    "sh -c 'TOKEN=$(echo S3cr3t); curl h'",
    "python3 -c \"requests.get('h', auth=('me', 'S3cr3t'))\"",
    """aws dynamodb put-item --item '{"password": {"S": "S3cr3t"}}'""",
    "helm upgrade a b --set 'env[0].name=DB_PASSWORD,env[0].value=S3cr3t'",
    "echo S3cr3t_is_not_known --password S3cr3t",
]


@pytest.mark.parametrize("line", LINES)
def test_a_secret_is_hidden(line: str) -> None:
    words = shlex.split(line)
    shown = Redaction().arguments(tuple(words))
    joined = " ".join(shown).replace("S3cr3t_is_not_known", "")
    assert "S3cr" not in joined
    assert HIDDEN in joined
    assert len(shown) == len(words)
    assert shown[0] == words[0]
    assert Redaction().arguments(shown) == shown  # what is shown stays so when it is read again
    if "sh -c" not in line:  # where quotes can be others
        assert all(covers(one, word) for one, word in zip(shown, words, strict=True))


#: Nothing in these is a secret, though other programs or other words would make it one.
HARMLESS = [
    "git commit -m 'Say what passes'",
    "git push origin main",
    "docker run -p 8080:80 -u 1000:1000 image",
    "mkdir -p a/b",
    "cp -a x y",
    "ssh -p 22 me@h",
    "tar -C /x -cpf a.tar y",
    "mysql -u root -P 3306 -h localhost db",
    "mysql --password db",
    "psql --password db",
    "psql --no-password -w db",
    "curl -o out -u user https://host:8080/path@x",
    "docker pull registry:5000/image@sha256:0123456789abcdef",
    "docker login --password-stdin -u me",
    "gh auth login --with-token",
    "prog --password-file /run/secrets/x --max-tokens 100 --token-count=3",
    "env PWD=/home OLDPWD=/x HOME=/root make",
    "env GIT_ASKPASS=/bin/x SORT=y make",
    "ssh://git@github.com/o/r",
    "git clone ssh://git@github.com/o/r.git",
    "curl https://me@host/",
    "kubectl get secret x",
    "sort --key 2 x",
    "openssl rsa -passin env:X -in key.pem",
    "openssl x509 -in token:x",
    "openssl req -new -keyout k.pem -out r.pem",
    "npm install http://localhost:4873/@scope/pkg",
    "curl http://[::1]:8080/",
    "python3 -c 'import secrets; print(secrets.token_hex(8))'",
    "redis-cli ping",
    "prog --token --verbose",
    "docker build --secret id=npm,src=.npmrc .",
    "podman run --secret mysecret image",
    "adduser --disabled-password me",
    "curl -x proxy:3128 -b cookies.txt -c cookies.txt https://host/",
    "poetry run pytest -p no:cacheprovider",
    "git config user.signingkey ABCDEF0123456789",
    "npm run npm_config_user_agent_of_the_package",
    "pip download pypi-attestations-verification",
    "curl 'https://host/?q=1&signed=x'",
    "git commit --signature=x",
    "openssl dgst -sha256 -sign key.pem x",
    "sh -c 'echo it | grep -c t'",
    "curl https://host/services/0123456789abcdef",
    "sqlplus / as sysdba",
    "python3 train.py --project runs/exp data/coco.yaml",
    "pytest tests/openai -k 'not slow'",
    "sqlplus -S @scripts/x.sql",
    "http -a me GET h",
    "az webapp create -n n -p plan",
    "aws ssm get-parameter --name n --with-decryption",
    "npm install --save-dev x",
    "poetry config virtualenvs.in-project true",
    "bundle config set path vendor/bundle",
    "pulumi config set name value",
    "vault token create -policy=x",
    "redis-cli config get maxmemory",
    "openssl mac -macopt digest:SHA256 -in f HMAC",
    "nmcli dev wifi list",
    "jq --arg name value .",
    "mysqladmin -u root status",
    "mysqlsh me@h:3306",
    'kubectl patch x -p \'[{"name": "LOG_LEVEL", "value": "debug"}]\'',
    "aws cloudformation create-stack --parameters ParameterKey=Size,ParameterValue=3",
    "mysql -e 'SELECT name, value FROM x'",
    "sh -c 'echo starting; sudo -S ls'",
    "sh -c 'echo starting || sudo -S ls'",
    "sh -c 'echo x | sudo tee f'",
    "sh -c 'echo x | gpg -c'",
    "sh -c 'echo x | gh issue create'",
    "sh -c 'echo x | kubectl apply -f -'",
    "grep -e '^passwd:[^#]*x' /etc/nsswitch.conf",
    "sh -c 'echo please login and see the docs'",
    "bash -c 'cat <<< x'",
    "curl https://host/t/topics/x",
    "keytool -list -keystore x",
    "ssh-keygen -q -t ed25519 -f k",
    "-----BEGIN CERTIFICATE-----MIIB0123456789-----END CERTIFICATE-----",
    "",
]


@pytest.mark.parametrize("line", HARMLESS)
def test_what_is_no_secret_stays(line: str) -> None:
    words = tuple(shlex.split(line))
    assert Redaction().arguments(words) is words


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("curl -u me:a:b https://h/", "curl -u me:••• https://h/"),
        ("git clone https://me:x@h/r", "git clone https://me:•••@h/r"),
        ("prog --password=x y", "prog --password=••• y"),
        ("curl -H 'Authorization: Bearer x y' h", "curl -H 'Authorization: Bearer •••' h"),
        ("sh -c 'curl -u a:b h | tar x'", "sh -c 'curl -u a:••• h | tar x'"),
        ("sh -c 'FOO_TOKEN=x make all'", "sh -c 'FOO_TOKEN=••• make all'"),
        ("env -S 'FOO_TOKEN=x make'", "env -S FOO_TOKEN=•••"),  # for it may be all of one value
        ("psql 'host=h password=x dbname=y'", "psql 'host=h password=••• dbname=y'"),
        ("prog --password ''", "prog --password ''"),
        ('curl -d \'{"password": "x", "n": 1}\'', 'curl -d \'{"password": "•••", "n": 1}\''),
    ],
)
def test_what_is_around_a_secret_is_shown(line: str, shown: str) -> None:
    assert Redaction().join(shlex.split(line)) == shown


def test_the_program_counts_and_not_what_it_calls_itself() -> None:
    assert Redaction().arguments(("db", "-pS3cr3t"), "mysql") == ("db", "-p•••")
    assert Redaction().arguments(("/opt/bin/mysql", "-pS3cr3t")) == ("/opt/bin/mysql", "-p•••")


def test_of_a_cut_argument_what_may_be_a_password_is_hidden() -> None:
    words = ("git", "clone", "https://me:S3cr3")
    assert Redaction().arguments(words, cut=True)[-1] == "https://me:•••"
    assert Redaction().arguments(words) is words
    assert Redaction().arguments(("git", "https://h:80"), cut=True)[-1] == "https://h:80"


def test_bytes_that_are_no_text_stay_what_they_are() -> None:
    words = ("prog", "--password=\udcff\udc80", "\udcff", "--token", "\udc80")
    assert Redaction().arguments(words) == ("prog", "--password=•••", "\udcff", "--token", "•••")


def test_a_text_with_command_lines_is_redacted() -> None:
    said = "left behind: pid 7 (/usr/bin/mysql -pS3cr3t db), begun 1.0 s before"
    assert Redaction().text(said) == "left behind: pid 7 (/usr/bin/mysql -p••• db), begun 1.0 s before"
    assert Redaction().text("nothing to see, really") == "nothing to see, really"


# ---- the user's own rules ----


def test_a_rule_of_the_users_adds() -> None:
    both = compile_redaction([r"--pin (\d+)", "deadbeef"])
    assert both.arguments(("p", "--pin", "1234", "x")) == ("p", "--pin", "•••", "x")
    assert both.arguments(("p", "a-deadbeef-b")) == ("p", "a-•••-b")
    assert both.arguments(("p", "--password=x")) == ("p", "--password=•••")
    assert both.text("p --pin 1234") == "p --pin •••"


def test_a_match_over_several_arguments_hides_its_part_of_each() -> None:
    assert compile_redaction(["b c"]).arguments(("ab", "cd")) == ("a•••", "•••d")
    assert compile_redaction(["x*"]).arguments(("ab", "cd")) == ("ab", "cd")


def test_none_switches_it_off() -> None:
    words = ("p", "--password=x")
    off = compile_redaction(["none"])
    assert off.arguments(words) is words
    assert off.text("p --password=x") == "p --password=x"


@pytest.mark.parametrize("values", [["("], [""], ["none", "x"], ["[z-a]"]])
def test_a_bad_rule_is_refused(values: list[str]) -> None:
    with pytest.raises(ValueError, match=r"regular expression"):
        compile_redaction(values)


# ---- what is shown, and what it can have been ----


def test_what_was_hidden_needs_no_quotes() -> None:
    assert quoted("--token=•••") == "--token=•••"
    assert quoted("a •••") == "'a •••'"
    assert quoted("") == "''"


@given(st.text("ab", max_size=6), st.text("ab", max_size=4))
def test_a_word_is_covered_by_itself(word: str, more: str) -> None:
    assert covers(word, word)
    assert covers(f"{word}{HIDDEN}", word + more)
    assert not covers("x" + word, word + more)


# ---- whatever the arguments ----


@given(st.lists(st.text(string.printable + "•é\udcff", max_size=40), max_size=8), st.booleans())
def test_any_arguments_can_be_shown(words: list[str], cut: bool) -> None:
    shown = Redaction().arguments(tuple(words), cut=cut)
    assert len(shown) == len(words)
    Redaction().text(" ".join(words))


_WORST = [
    "a" * 16384,
    "token" * 3277,
    "-" * 16384,
    "=" * 16384,
    "://" * 5461,
    "x://a:b" * 2340,
    "password=" * 1820,
    "password='" * 1638,
    'password="' * 1638,
    'token \\"' * 2048,
    "'\"" * 8192,
    "\\" * 16384,
    "pass $(" * 2340,
    "sh -c 'token " * 1260,
    "password: " * 1638,
    "token=a," * 2048,
    "token=" + "a;" * 8192,
    "authorization: " * 1092,
    "eyJ" * 5461,
    " " * 16379 + "token",
    "\n" * 16379 + "token",
    "curl " * 3276,
    "mysql -p " * 1820,
    "://u:p@" + "a" * 16000,
    "://u:p" * 2730,
    "a.b-c_" * 2730 + "token",
    "token" + " " * 16000 + "=",
    "vault kv " + "a=b " * 4000,
    "-----BEGIN PRIVATE KEY-----" * 600,
    "-----BEGIN PRIVATE KEY-----" + "-" * 16000,
    "password '" * 1638,
    "/bot1" * 3276,
    "ghp_" * 4096,
    "\\\n" * 8192,
    "echo x | prog --password-stdin " * 528,
    "name=a,value=" * 1260,
    '{"name": "a_key", "value": "b' * 560,
    "secret,a=b," * 1489,
    "set password for a " * 862,
    "identified with a by " * 780,
    "/t/tk-" * 2730,
    "sudo -S <<< x " * 1170,
    "login a password " * 963,
    "auth=('a','" * 1489,
    "token=$(" * 2048,
]


@pytest.mark.parametrize("text", _WORST, ids=range(len(_WORST)))
def test_no_argument_takes_long(text: str) -> None:
    before = getrusage(RUSAGE_SELF).ru_utime
    Redaction().arguments(("mysql", text), cut=True)
    Redaction().arguments(("sh", "-c", text + " token"))
    Redaction().text(text)
    assert getrusage(RUSAGE_SELF).ru_utime - before < 2


def test_many_arguments_take_no_long_time() -> None:
    before = getrusage(RUSAGE_SELF).ru_utime
    Redaction().arguments(("curl", *("--token", "x") * 4000))
    Redaction().arguments(("vault", "kv", *("a=b",) * 8000))
    assert getrusage(RUSAGE_SELF).ru_utime - before < 2
