// sor migrate: changes of the schema, from a pair of files to an applied migration. The rules are the database's.
#include <memory>
#include "command.hpp"
#include "migrate/commands.hpp"

namespace sor {
namespace {

using migrate::options;

struct subcommand {
    CLI::App* app;
    std::shared_ptr<options> chosen = std::make_shared<options>();
};

subcommand add(CLI::App& group, common_options& common, chosen_command& chosen, const char* name,
               exit_status (*run)(const options&, command_context&), const char* description, const char* promises) {
    subcommand made{add_command(group, name, description, promises, common)};
    auto target = made.chosen;
    made.app->add_option("--dir", target->directory, "Directory of the migrations")
        ->type_name("DIRECTORY")
        ->default_str("that of [migrate] in the settings, or migrations");
    made.app->add_flag("--json", target->json, "Print one JSON document");
    made.app->callback([target, run, &chosen] {
        chosen = [target, run](command_context& context) {
            try {
                return run(*target, context);
            } catch (const db::sql_error& error) {
                if (db::is_of_stop(error))
                    throw db::stopped();
                context.log.error(error);
                return migrate::exit_code_of(error);
            }
        };
    });
    return made;
}

void add_running_options(const subcommand& command) {
    auto& target = *command.chosen;
    command.app->add_flag("--out-of-order", target.out_of_order, "Even though it is not its turn");
    add_duration(command.app, "--lock-timeout", target.lock_timeout, "How long a statement of a transaction waits for a lock", 1, 3600);
    add_duration(command.app, "--wait", target.patience.wait,
                 "How long to try where another session runs migrations, or a lock is not to be had", 0, 86400);
    command.app->add_option("--retries", target.patience.retries, "How often, in that time")
        ->check(CLI::Range(0, 1000))
        ->capture_default_str();
}

void add_version(const subcommand& command) {
    command.app->add_option("version", command.chosen->which, "Version, or one of its files")
        ->type_name("VERSION")
        ->required()
        ->expected(1);
}

} // namespace

void declare_migrate(CLI::App& app, common_options& common, chosen_command& chosen) {
    auto* group = app.add_subcommand("migrate", "Changes of the schema: review, rehearse, approve, apply, roll back");
    group->require_subcommand(1);
    group->footer(
        "Files are 0007_NAME.up.sql and 0007_NAME.down.sql, or named as dbmate, golang-migrate and Flyway do.\n"
        "sor migrate COMMAND --help says what each promises.");
    const auto declare = [&](const char* name, exit_status (*run)(const options&, command_context&),
                             const char* description, const char* promises) {
        return add(*group, common, chosen, name, run, description, promises);
    };

    const auto create = declare("new", migrate::create, "Write the two files of a new migration",
                                "Writes an empty upgrade and downgrade under the next version and prints their names.\n"
                                "Connects to nothing.");
    create.app->add_option("name", create.chosen->name, "What it does, such as add_notes_to_expenses")
        ->type_name("NAME")
        ->required();

    const auto review = declare(
        "review", migrate::review, "Say what migrations do to a database in use",
        "Prints for each statement its severity, the rule, file and line, why, and a safer way; last the hash of\n"
        "the review, which approve takes. Without arguments: all that are not applied. Executes and changes nothing,\n"
        "unless --propose puts the texts into the database, for another login to approve.\n"
        "Ends with 1 where something destructive or opaque is not approved. Safe statements are listed with -v.");
    review.app->add_option("migrations", review.chosen->which, "Versions, or files")->type_name("VERSION|FILE");
    review.app->add_flag("--propose", review.chosen->propose, "Propose them as they are");

    const auto rehearse = declare(
        "rehearse", migrate::rehearse, "Try a migration on a branch of the database",
        "Proposes its texts, makes a branch of the live database, which stays in use, applies there, checks, rolls\n"
        "back and applies again, and compares. Prints what each statement took and held, and two answers: whether the\n"
        "downgrade restores the schema, and whether it restores the rows. Drops the branch, and records the report.\n"
        "Ends with 1 when a part fails or an answer is no. Settings: [migrate.rehearsal] dbname (a superuser's\n"
        "connection), copy_megabytes (rows of the tables it names, default 100), clone_command and drop_command\n"
        "(with $SOR_BRANCH; the first prints the branch's CONNINFO), check_command (with PG* of the branch).");
    add_version(rehearse);

    const auto approve = declare(
        "approve", migrate::approve, "Approve a migration as it was reviewed",
        "In the name of this login, which is not the one that proposed it. The hash is that of the review that was\n"
        "read; if the migration reads otherwise by now, it is refused (77). What is destructive needs an override as\n"
        "well: the branch where it was rehearsed, the backup to go back to, and the reason.");
    add_version(approve);
    approve.app->add_option("--review", approve.chosen->review, "Hash of the review that was read")
        ->type_name("HASH")
        ->required();
    approve.app->add_option("--branch", approve.chosen->branch, "Override: where it was rehearsed");
    approve.app->add_option("--backup", approve.chosen->backup, "Override: what the data can be restored from");
    approve.app->add_option("--reason", approve.chosen->reason, "Override: why it must be");

    const auto apply = declare(
        "apply", migrate::apply, "Apply approved migrations",
        "In order, all that are not applied, up to --to; or the one that is named. Each is one transaction; one with\n"
        "statements that no transaction can hold goes step by step, and after a crash on from the step it stands at.\n"
        "Ends at the first error; what was applied before it stays. One that was rolled back is applied when named.\n"
        "A change of the files after the approval is refused (77), as is what nobody approved. Needs a connection\n"
        "that is not pooled by transaction.");
    apply.app->add_option("version", apply.chosen->which, "Version, or one of its files")
        ->type_name("VERSION")
        ->expected(0, 1);
    apply.app->add_option("--to", apply.chosen->to, "The last one to apply")->type_name("VERSION");
    add_running_options(apply);

    const auto rollback = declare("rollback", migrate::rollback, "Roll the newest migration back",
                                  "Runs the downgrade that was approved, as the database has it. As apply.");
    add_version(rollback);
    add_running_options(rollback);

    declare("status", migrate::status, "List the migrations and where they stand",
            "Those of the directory and those of the database, with what is half done, and branches that a killed\n"
            "rehearsal left behind.");
    declare("verify", migrate::verify, "Check that files, history and schema agree",
            "Finds files of applied migrations that were edited or are missing, and a schema that something else has\n"
            "changed since the last migration; each is a line, and the command ends with 1.");
}

} // namespace sor
