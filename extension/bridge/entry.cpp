#include "bridge/entry.hpp"

#include <algorithm>
#include <cstring>
#include <new>

namespace sor::bridge {

int sqlstate(code which) {
    if (which == code::invalid_parameter)
        return ERRCODE_INVALID_PARAMETER_VALUE;
    const int number = static_cast<int>(which);
    return MAKE_SQLSTATE('S', 'R', '0', '0' + number / 10, '0' + number % 10);
}

void raise(code which, const char* message, const char* detail, const char* hint) {
    ereport(ERROR, (errcode(sqlstate(which)), errmsg_internal("%s", message),
                    detail ? errdetail_internal("%s", detail) : 0, hint ? errhint("%s", hint) : 0));
    pg_unreachable();
}

namespace {

template <size_t N>
void copy(char (&to)[N], const char* from) noexcept {
    const size_t length = std::min(std::strlen(from), N - 1);
    std::memcpy(to, from, length);
    to[length] = '\0';
}

// A text cut at its buffer's end may end within a character.
char* whole_characters(const char* cut) {
    char* text = pstrdup(cut);
    const int length = static_cast<int>(std::strlen(text));
    text[pg_mbcliplen(text, length, length)] = '\0';
    return text;
}

} // namespace

void capture(caught& into) noexcept {
    into.pg = nullptr;
    into.sqlstate = ERRCODE_INTERNAL_ERROR;
    into.detail[0] = into.hint[0] = '\0';
    try {
        throw;
    } catch (const pg_error& e) {
        into.pg = e.data;
    } catch (const error& e) {
        into.sqlstate = sqlstate(e.which());
        copy(into.message, e.what());
        copy(into.detail, e.detail().c_str());
        copy(into.hint, e.hint().c_str());
    } catch (const std::bad_alloc&) {
        into.sqlstate = ERRCODE_OUT_OF_MEMORY;
        copy(into.message, "out of memory");
    } catch (const std::exception& e) {
        copy(into.message, e.what());
    } catch (...) {
        copy(into.message, "unknown C++ exception");
    }
}

void rethrow(const caught& error) {
    if (error.pg != nullptr)
        ReThrowError(error.pg);
    const char* message = whole_characters(error.message);
    const char* detail = whole_characters(error.detail);
    const char* hint = whole_characters(error.hint);
    ereport(ERROR, (errcode(error.sqlstate), errmsg_internal("%s", message),
                    *detail ? errdetail_internal("%s", detail) : 0, *hint ? errhint("%s", hint) : 0));
    pg_unreachable();
}

} // namespace sor::bridge
