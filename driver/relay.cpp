#include <cstdio>
#include <map>
#include <memory>
#include <unistd.h>
#include "command.hpp"
#include "db/calls.hpp"
#include "destinations/destination.hpp"
#include "fault.hpp"
#include "stop.hpp"

namespace sor {
namespace {

using destinations::delivery_result;
using std::chrono::steady_clock;

struct relay_options {
    bool follow = false;
    std::chrono::seconds interval{30}, lease{60};
    int batch = 100;
};

class outbox_relay {
public:
    outbox_relay(const relay_options& options, command_context& context) : options_(options), context_(context) {
        char host[256] = "localhost";
        gethostname(host, sizeof host - 1);
        name_ = std::string(host) + "/" + std::to_string(getpid());
    }

    // Sends everything that is due, of all tenants.
    exit_status round(db::connection& connection) {
        outcome_ = {};
        down_.clear();
        marking_ = nullptr;
        for (const auto& tenant_id : db::tenants_with_work(connection, "outbox"))
            while (!stop::requested() && batch(connection, tenant_id)) {
            }
        return outcome_.code();
    }

    std::uint64_t sent() const { return sent_; }

private:
    // False when there is nothing more to do for this tenant.
    bool batch(db::connection& connection, const std::string& tenant_id) {
        const auto claimed_at = steady_clock::now();
        const auto messages = db::claim_outbox(connection, tenant_id, name_, options_.batch, options_.lease);
        bool progress = false;
        for (const auto& message : messages) {
            // What is left when the lease ends is another relay's.
            if (steady_clock::now() - claimed_at > std::chrono::milliseconds(options_.lease) * 4 / 5)
                break;
            const auto known = down_.find(message.destination);
            const auto delivery = known != down_.end()
                                      ? delivery_result{delivery_result::fate::down,
                                                        {},
                                                        "not tried, the destination is down: " + known->second}
                                      : send(connection, tenant_id, message);
            settle_mark(connection);
            if (delivery.state == delivery_result::fate::sent) {
                db::send_mark_dispatched(connection, tenant_id, message, delivery.receipt);
                ++sent_;
            } else {
                report(tenant_id, message, delivery, known == down_.end());
                db::send_mark_failed(connection, tenant_id, message, delivery.error,
                                     delivery.state == delivery_result::fate::refused);
            }
            marking_ = &message;
            progress |= delivery.state != delivery_result::fate::down;
        }
        settle_mark(connection);
        if (context_.log.terminal())
            context_.log.progress(std::to_string(sent_) + " messages sent");
        // With nothing but destinations that are down, claiming on would only use up the attempts of the rest.
        return progress;
    }

    delivery_result send(db::connection& connection, const std::string& tenant_id, const db::message& message) {
        auto& sender = senders_[message.destination];
        if (!sender) {
            const auto found = context_.settings.destinations.find(message.destination);
            if (found == context_.settings.destinations.end())
                return {delivery_result::fate::down,
                        {},
                        "the relay's settings have no destination \"" + message.destination + "\""};
            sender = destinations::make_sender(found->second);
        }
        fault::point("before-send");
        // The mark of the message before is on its way meanwhile. No message is handed over before the last one's mark
        // is known to be there, so a kill can never repeat more than one.
        auto delivery = sender->send(tenant_id, message, [&] { settle_mark(connection); });
        fault::point("after-send");
        return delivery;
    }

    void report(const std::string& tenant_id, const db::message& message, const delivery_result& delivery, bool first) {
        const auto which =
            "Message " + message.id + " of tenant " + tenant_id + ", attempt " + std::to_string(message.attempt) + ": ";
        switch (delivery.state) {
        case delivery_result::fate::sent:
            return;
        case delivery_result::fate::refused:
            outcome_.add(exit_status::bad_data);
            context_.log.error("a message can never be sent", which + delivery.error,
                               "It is dead now; its payload or address is to be corrected where it was queued.");
            return;
        case delivery_result::fate::failed:
            outcome_.add(exit_status::try_again);
            context_.log.warning("a message could not be sent", which + delivery.error,
                                 "It is tried again after a while.");
            return;
        case delivery_result::fate::down:
            outcome_.add(exit_status::unavailable);
            down_.emplace(message.destination, delivery.error);
            if (first)
                context_.log.error("destination \"" + message.destination + "\" is unavailable", delivery.error,
                                   context_.settings.destinations.contains(message.destination)
                                       ? "Its messages stay in the outbox and are tried again after a while."
                                       : "Give it as [destinations." + message.destination +
                                             "] in the file that --settings names; its messages stay in the outbox.");
            return;
        }
    }

    // Waits for the mark that is on its way, if one is.
    void settle_mark(db::connection& connection) {
        if (!marking_)
            return;
        const auto& message = *std::exchange(marking_, nullptr);
        try {
            db::receive_mark(connection);
        } catch (const db::sql_error& error) {
            if (error.sqlstate() != "SR007")
                throw;
            outcome_.add(exit_status::try_again);
            context_.log.warning("the lease of a message was lost", "Message " + message.id + ": " + error.message(),
                                 "Another relay may send it again, with the same id; a longer --lease or a smaller "
                                 "--batch avoids this.");
        }
        fault::point("after-mark");
    }

    const relay_options& options_;
    command_context& context_;
    std::string name_;
    std::map<std::string, std::unique_ptr<destinations::sender>> senders_;
    std::map<std::string, std::string> down_; // destination to why, within one round
    const db::message* marking_ = nullptr;
    exit_outcome outcome_;
    std::uint64_t sent_ = 0;
};

exit_status relay(const relay_options& options, command_context& context) {
    outbox_relay relay(options, context);
    exit_status code = exit_status::done;
    if (!options.follow) {
        auto connection = connect(context);
        code = relay.round(connection);
    } else {
        std::unique_ptr<db::connection> connection;
        do {
            try {
                if (!connection)
                    connection = std::make_unique<db::connection>(connect(context));
                relay.round(*connection);
            } catch (const failure& error) {
                // The next round connects again; only what no waiting cures ends it.
                if (error.code() != exit_status::unavailable && error.code() != exit_status::try_again)
                    throw;
                context.log.error(error);
                connection.reset();
            }
        } while (!stop::wait(options.interval));
    }
    context.log.progress({});
    context.log.info(std::to_string(relay.sent()) + " messages sent");
    return code;
}

} // namespace

void declare_relay(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* command = add_command(
        app, "relay", "Send the messages of the outbox",
        "Of every tenant granted to the login, what is due, in order within an aggregate. A message is marked as soon "
        "as it\n"
        "is sent: one that is marked is never sent again, and a relay killed between the two sends at most that one "
        "again,\n"
        "with the same Message-ID. What fails is tried again later by the outbox's own schedule; a message that can "
        "never\n"
        "go (a bad payload, an address refused for good) is dead at once.\n\n"
        "Settings, for each name that messages give as their destination:\n"
        "  [destinations.NAME]\n"
        "  type = \"smtp\"              payload {to, subject, text, html?}; to: an address or an array of them\n"
        "  url = \"smtp://HOST:PORT\"   smtps:// for TLS from the start\n"
        "  from = \"Name <address>\"\n"
        "  tls = \"try\"                STARTTLS: require (verified; the default with a username), try, none\n"
        "  username, password_file    login at the mail server\n"
        "  message_id_domain          right side of Message-ID; the sender's domain\n"
        "  timeout_seconds = 30       for one message\n"
        "  [destinations.NAME]\n"
        "  type = \"file\"              one JSON line a message\n"
        "  path = \"FILE\"",
        common);
    auto options = std::make_shared<relay_options>();
    command->add_flag("--follow", options->follow, "Go on until a signal ends it, through outages");
    add_duration(command, "--interval", options->interval, "Pause between rounds with --follow", 1, 86400);
    command->add_option("--batch", options->batch, "Messages claimed at once")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    add_duration(command, "--lease", options->lease,
                 "How long a batch may take before its messages are another relay's", 1, 3600);
    command->callback(
        [options, &chosen] { chosen = [options](command_context& context) { return relay(*options, context); }; });
}

} // namespace sor
