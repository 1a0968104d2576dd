// A migration's text, statement by statement: what the review has read, numbered as it numbers them.
#pragma once

#include "bridge/parse.hpp"
#include "review/review_core.hpp"

#include <string_view>

namespace sor::migrations {

// Where in a migration something happens. While it is entered, an error's context says so.
struct place {
    const char* version;
    bool down;
    int statement_no; // 0: not in one
    int line;
    const char* text; // what an error's position counts in; null: nothing
    ErrorContextCallback callback;
};
void enter(place& p);
void leave(const place& p);

struct statement {
    int number; // counts from 1
    int line;
    const Node* node; // a raw parse tree
    const char* text; // of this statement alone
};

class reader {
public:
    // Keeps where it is up to date in the place, which the caller has entered.
    reader(place& at, std::string_view sql);
    // False at the end. What it gives is good until the next call; the memory is that of one statement.
    // Errors: 42601 it cannot be read, or is not SQL; 54001 it is too complex.
    bool next(statement& into);

private:
    bool read_piece();

    place& at_;
    std::string_view text_;
    review::splitter pieces_;
    MemoryContext memory_; // of one piece
    const char* piece_ = nullptr;
    List* statements_ = NIL;
    int next_ = 0;
    int number_ = 0;
};

// Whether a transaction can hold the statement. Errors: 0A000 no migration may have it.
bool is_transactional(const Node* node);

// Whether it goes through ProcessUtility itself, so that what runs inside it runs deeper.
bool is_utility(const Node* node);

// A part of a migration that is run at once.
struct step {
    bool transactional;
    int first, last; // statements
    int line;
    const char* text; // of the only statement; null for a transactional one
};
// The steps of a text, none of an empty one; in the current memory context. Errors: as those of reader and
// is_transactional.
List* steps_of(const char* version, bool down, std::string_view text);

} // namespace sor::migrations
