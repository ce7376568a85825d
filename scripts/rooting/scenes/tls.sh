# Behind nginx with TLS: docs/tls-proxy.md.
apt-get install -y -q --no-install-recommends nginx-light openssl curl >/tmp/apt.log 2>&1
mkdir -p /srv/tls && cd /srv/tls
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=cachew.example -addext subjectAltName=DNS:cachew.example \
    -keyout /etc/ssl/cachew.example.key -out /etc/ssl/cachew.example.pem 2>/dev/null
sed 's/127.0.0.1:8080/127.0.0.1:8082/' /src/contrib/proxies/nginx.conf >/etc/nginx/conf.d/cachew.conf
rm -f /etc/nginx/sites-enabled/default
nginx -t 2>&1 | tail -1
nginx
cat >cachew.toml <<'TOML'
listen = ["tcp:8082:interface=127.0.0.1"]
public-url = "https://cachew.example/"
[access]
proxies = ["127.0.0.1/32"]
[upstreams."git.example"]
url = "http://127.0.0.1:3000/"
TOML
/opt/cachew/bin/twistd --nodaemon --pidfile= cachew --config cachew.toml >server.log 2>&1 & server=$!
echo 127.0.0.1 cachew.example >>/etc/hosts
export CURL_CA_BUNDLE=/etc/ssl/cachew.example.pem GIT_SSL_CAINFO=/etc/ssl/cachew.example.pem
until_ready https://cachew.example/_readiness
git clone -q https://cachew.example/git/git.example/public/tool clone
git -C clone log --oneline | wc -l
until_true 'curl -fsS https://cachew.example/git/git.example/public/tool/bundle-list'
curl -fsS https://cachew.example/git/git.example/public/tool/bundle-list | sed -n 's/.*\turi = //p' | sed 's/bundle-.*/bundle…/' | sort -u
git clone -q --bundle-uri=https://cachew.example/git/git.example/public/tool/bundle-list https://cachew.example/git/git.example/public/tool bundled
grep -o 'https://cachew.example/admin/login' server.log
curl -fsS https://cachew.example/client/install.sh | grep -c https://cachew.example
ended $server
nginx -s stop 2>/dev/null
