<?php // PHPMailer: php mail.php PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO.
require "/usr/share/php/libphp-phpmailer/autoload.php";

[, $port, $mode, $file, $user, $password, $mechanism] = $argv + array_fill(0, 7, null);
$tls = ["ssl" => ["cafile" => getenv("CA"), "peer_name" => "localhost"]];
$smtp = new PHPMailer\PHPMailer\SMTP();
$host = ($mode === "tls" ? "ssl://" : "") . "127.0.0.1";
$must = fn($done, $what) => $done ?: exit("$what: " . json_encode($smtp->getError()) . "\n");
$must($smtp->connect($host, (int)$port, 10, $tls), "connect") === true || exit(1);
$must($smtp->hello("client.example"), "hello");
if ($mode === "starttls") {
    $must($smtp->startTLS(), "starttls");
    $must($smtp->hello("client.example"), "hello");
}
if ($user !== null) $must($smtp->authenticate($user, $password, $mechanism), "auth");
$must($smtp->mail(getenv("FROM")), "mail");
foreach (explode(",", getenv("TO")) as $to) $must($smtp->recipient($to), "rcpt");
// It ends the last line itself.
$must($smtp->data(preg_replace('/\r\n$/D', "", file_get_contents($file))), "data");
$smtp->quit();
echo "sent\n";
