# The unit under systemd as the first process: started at boot, reloaded, killed and started again, stopped.
systemctl is-enabled cachew
until_ready http://127.0.0.1:8080/_readiness
systemctl show cachew -p Type -p User -p ActiveState -p SubState
systemctl reload cachew
systemctl is-active cachew
systemctl kill --signal=KILL cachew
until_true 'test "$(systemctl show -P NRestarts cachew)" = 1 && systemctl is-active cachew'
until_ready http://127.0.0.1:8080/_readiness
systemctl show cachew -p NRestarts -p ActiveState
systemctl stop cachew
systemctl show cachew -p Result -p ActiveState
stat -c '%U %a %n' /var/lib/cachew/admin-token
