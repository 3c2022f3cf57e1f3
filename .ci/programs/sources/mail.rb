# Net::SMTP of Ruby: ruby mail.rb PORT MODE FILE [USER PASSWORD MECHANISM], with the envelope in $FROM and $TO.
require "net/smtp"
require "openssl"

port, mode, file, user, password, mechanism = ARGV
smtp = Net::SMTP.new("127.0.0.1", port.to_i)
context = OpenSSL::SSL::SSLContext.new
context.ca_file = ENV["CA"]
context.verify_mode = OpenSSL::SSL::VERIFY_PEER
smtp.disable_starttls if mode == "plain"
smtp.enable_starttls(context) if mode == "starttls"
smtp.enable_tls(context) if mode == "tls"
credentials = user ? [user, password, mechanism.downcase.to_sym] : []
smtp.start("client.example", *credentials) do |session|
  session.send_message(File.binread(file), ENV["FROM"], *ENV["TO"].split(","))
end
