#include "review/review_core.hpp"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace sor::review {
namespace {

// Each piece as its kind, its line and its text, without the blanks around it.
std::vector<std::string> cut(std::string_view text) {
    std::vector<std::string> out;
    splitter pieces(text);
    piece p;
    size_t reached = 0;
    while (pieces.next(p)) {
        EXPECT_GE(p.begin, reached);
        EXPECT_EQ(text.substr(reached, p.begin - reached).find_first_not_of(" \n;-abcdefghijklmnopqrstuvwxyz"),
                  text.npos);
        reached = p.end;
        out.push_back(std::string(p.kind == piece::of::statement   ? ""
                                  : p.kind == piece::of::copy_data ? "data "
                                                                   : "psql ") +
                      std::to_string(p.line) + ": " + std::string(text.substr(p.start, p.end - p.start)));
    }
    return out;
}
using pieces = std::vector<std::string>;

TEST(splitter, statements_and_lines) {
    EXPECT_EQ(cut("select 1; select 2"), (pieces{"1: select 1;", "1: select 2"}));
    EXPECT_EQ(cut("-- a\n\n/* b\n /* c */ ; */ select 1\n;\n;;select 2;\n"),
              (pieces{"4: select 1\n;", "6: select 2;"}));
    EXPECT_EQ(cut(""), pieces{});
    EXPECT_EQ(cut(" ;; -- only a comment"), pieces{});
}

TEST(splitter, quotes) {
    EXPECT_EQ(cut("select ';', \";\", '''; drop'; x"), (pieces{"1: select ';', \";\", '''; drop';", "1: x"}));
    EXPECT_EQ(cut("select '\\'; drop table t; --'"), (pieces{"1: select '\\';", "1: drop table t;"}));
    EXPECT_EQ(cut("select E'\\'; drop table t; --'; x"), (pieces{"1: select E'\\'; drop table t; --';", "1: x"}));
    EXPECT_EQ(cut("select E'a'\n  '\\';b'; x"), (pieces{"1: select E'a'\n  '\\';b';", "2: x"}));
    EXPECT_EQ(cut("select $$ ; $a$ ; $$; x"), (pieces{"1: select $$ ; $a$ ; $$;", "1: x"}));
    EXPECT_EQ(cut("select $a$ ; $$ ; $a$; x"), (pieces{"1: select $a$ ; $$ ; $a$;", "1: x"}));
    EXPECT_EQ(cut("select a$$, $1; x$$;"), (pieces{"1: select a$$, $1;", "1: x$$;"}));
    EXPECT_EQ(cut("select 'open; x"), (pieces{"1: select 'open; x"}));
    EXPECT_EQ(cut("x; /* open; y"), (pieces{"1: x;", "1: /* open; y"}));
}

TEST(splitter, bodies) {
    EXPECT_EQ(cut("create rule r as on insert to t do (select 1; select 2); x"),
              (pieces{"1: create rule r as on insert to t do (select 1; select 2);", "1: x"}));
    EXPECT_EQ(cut("create or replace function f() returns int begin atomic select case when true then 1 end; select 2; "
                  "end; x"),
              (pieces{"1: create or replace function f() returns int begin atomic select case when true then 1 end; "
                      "select 2; end;",
                      "1: x"}));
    EXPECT_EQ(cut("begin; create table t (); end; x"),
              (pieces{"1: begin;", "1: create table t ();", "1: end;", "1: x"}));
    EXPECT_EQ(cut("select ')'; ) select 1; x"), (pieces{"1: select ')';", "1: ) select 1;", "1: x"}));
}

TEST(splitter, operators) {
    const auto longest = [](std::string_view text) {
        splitter cutter(text);
        piece p;
        return cutter.next(p) ? p.operators : 0;
    };
    EXPECT_EQ(longest("select a <-> b - -1"), 3u);
    EXPECT_EQ(longest("select '----', \"====\", $$++++$$ -- ------\n + 1"), 1u);
    EXPECT_EQ(longest("select /*/*/* */*/*/ 1"), 6u);
    EXPECT_EQ(longest("select /*/*/*"), 6u);
    EXPECT_EQ(longest("-- ------\n/* ===== */ select 1"), 0u);
}

TEST(splitter, psql) {
    EXPECT_EQ(cut("\\i a.sql; b\nselect 1 \\gset x\nselect 2;"),
              (pieces{"psql 1: \\i a.sql; b", "2: select 1 ", "psql 2: \\gset x", "3: select 2;"}));
    EXPECT_EQ(cut("copy t (a) from stdin;\n1\t';\n\\.\nselect 1;"),
              (pieces{"1: copy t (a) from stdin;", "data 1: \n1\t';\n\\.", "4: select 1;"}));
    EXPECT_EQ(cut("copy t from stdin; drop table t;"), (pieces{"1: copy t from stdin;", "1: drop table t;"}));
    EXPECT_EQ(cut("copy t from 'stdin'; drop table t;\n\\."),
              (pieces{"1: copy t from 'stdin';", "1: drop table t;", "psql 2: \\."}));
}

TEST(scope_reader, header) {
    scope_reader names("\n-- 0001 notes\n-- sor: touches shop.expenses, shop.*\n--sor: touches  other\nselect 1; -- "
                       "sor: touches late");
    std::string_view name;
    std::vector<std::string> all;
    while (names.next(name))
        all.emplace_back(name);
    EXPECT_EQ(all, (std::vector<std::string>{"shop.expenses", "shop.*", "other"}));
}

TEST(rules, are_complete) {
    std::set<std::string> ids;
    for (const rule_text& r : rules()) {
        EXPECT_TRUE(ids.insert(r.id).second) << r.id;
        EXPECT_EQ(std::string(r.id).find_first_not_of("abcdefghijklmnopqrstuvwxyz-"), std::string::npos) << r.id;
        EXPECT_NE(std::string(r.hazard), "") << r.id;
        EXPECT_EQ(std::string(r.hazard).find("{2"), std::string::npos) << r.id;
        EXPECT_EQ(std::string(r.hazard).back(), '.') << r.id;
        EXPECT_EQ(*r.safer == '\0', r.level == severity::safe) << r.id;
        EXPECT_EQ(std::string(r.safer).find("  "), std::string::npos) << r.id;
    }
    EXPECT_GE(ids.size(), 60u);
    EXPECT_STREQ(text_of(rule::drop_table).id, "drop-table");
}

// The parts of a block as kind and text; "?" at the end when it is not understood.
std::vector<std::string> parts(std::string_view body) {
    std::vector<std::string> out;
    block_reader block(body);
    block_part p;
    block_reader::outcome outcome;
    while ((outcome = block.next(p)) == block_reader::outcome::part) {
        static constexpr const char* kinds[] = {"statement:", "query:", "condition:", "command:"};
        out.push_back(kinds[static_cast<size_t>(p.kind)] + std::string(body.substr(p.begin, p.end - p.begin)));
    }
    if (outcome == block_reader::outcome::not_understood)
        out.push_back("?");
    return out;
}

TEST(block_reader, reads_what_has_no_variables) {
    EXPECT_EQ(parts("begin end"), pieces{});
    EXPECT_EQ(parts(" -- a\n BEGIN null; return; RAISE NOTICE 'a; %', sqlerrm; END; /* b */ "), pieces{});
    EXPECT_EQ(parts("begin create type a as enum ('b;'); exception when duplicate_object or others then null; end"),
              (pieces{"statement:create type a as enum ('b;')"}));
    EXPECT_EQ(
        parts("begin if not exists (select 1) then drop table a; elsif b then perform f(';'); else execute $x$ c; $x$; "
              "end if; begin update t set a = 1; end; end"),
        (pieces{"condition: not exists (select 1) ", "statement:drop table a", "condition: b ", "query: f(';')",
                "command: $x$ c; $x$", "statement:update t set a = 1"}));
}

TEST(block_reader, variables) {
    EXPECT_EQ(parts("declare begin end"), pieces{});
    EXPECT_EQ(
        parts("declare a int; b constant text not null := f(';'); c x.y%type default 1 = 2; begin a := g(b); b = 'x'; "
              "select max(x) into a from t; get diagnostics a = row_count; end"),
        (pieces{"query: f(';')", "query: 1 = 2", "query: g(b)", "query: 'x'",
                "statement:select max(x) into a from t"}));
    EXPECT_EQ(parts("begin declare a int; begin null; end; drop table b; end"), pieces{"statement:drop table b"});
}

TEST(block_reader, gives_up_on_the_rest) {
    for (const char* body :
         {"", "begin", "begin end; select 1", "begin loop end loop; end", "begin a[1] := 1; end",
          "declare a cursor for select 1; begin end", "declare a int := '; begin end", "begin if a then end; end",
          "begin end if; end", "begin commit; end", "begin raise notice '%', f(); end", "<<a>> begin end",
          "begin create function f() begin atomic; end; end", "begin drop table a", "begin drop table 'a; end",
          "begin if a; end if; end", "begin else null; end", "begin when a then null; end", "begin null end"})
        EXPECT_EQ(parts(body).empty() ? "" : parts(body).back(), "?") << body;
    std::string deep;
    for (int i = 0; i < 100000; ++i)
        deep += "begin ";
    EXPECT_EQ(parts(deep), pieces{"?"});
}

TEST(destroys, what_is_not_of_the_row) {
    for (const char* body :
         {"delete from a", "DELETE FROM a WHERE b = 1", "delete from a where b = old.b or true", "truncate a",
          "if x then drop table a; end if", "execute 'x'", "delete from a where old.b = b", "delete from a; b = old.c"})
        EXPECT_TRUE(destroys(body)) << body;
    for (const char* body :
         {"", "insert into a values (old.b)", "delete from a where b = OLD.b;",
          "delete from a where b=old.b and c = old.c", "-- delete from a",
          "if tg_op = 'DELETE' then return old; end if", "select \"drop\" from deletes", "$x$ drop $x$"})
        EXPECT_FALSE(destroys(body)) << body;
}

TEST(name_reader, words) {
    const auto words = [](std::string_view name) {
        std::vector<std::string> out;
        name_reader reader(name);
        for (std::string_view word; reader.next(word);)
            out.emplace_back(word);
        return out;
    };
    EXPECT_EQ(words("migrations/0007_add_notes-to expenses.up.sql"), (pieces{"add", "notes", "to", "expenses"}));
    EXPECT_EQ(words("20240101AddVATToOrderLines2"), (pieces{"Add", "VAT", "To", "Order", "Lines2"}));
    EXPECT_EQ(words("0001"), pieces{});
    EXPECT_TRUE(same_word("Expense", "expenses"));
    EXPECT_TRUE(same_word("categories", "category"));
    EXPECT_TRUE(same_word("boxes", "box"));
    EXPECT_FALSE(same_word("order", "border"));
    EXPECT_FALSE(same_word("user", "users_old"));
    EXPECT_TRUE(is_preposition("TO"));
    EXPECT_FALSE(is_preposition("too"));
}

} // namespace
} // namespace sor::review
