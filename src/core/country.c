/* country.c -- packs two characters of base 36, shifted so that "ZZ" is 0. */
#include "core/country.h"

#include "base/assert.h"

#define COUNTRY_DIGITS 36
#define COUNTRY_ZZ     (35 * COUNTRY_DIGITS + 35)

/* '0'-'9' are 0 to 9, letters 10 to 35. */
static int digit_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'Z') {
        return c - 'A' + 10;
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 10;
    }
    return -1;
}

bool country_pack(struct slice text, country_t *country)
{
    *country = 0;
    if (text.len != 2) {
        return false;
    }
    int high = digit_of(text.ptr[0]);
    int low = digit_of(text.ptr[1]);
    if (high < 0 || low < 0) {
        return false;
    }
    *country = (country_t)((high * COUNTRY_DIGITS + low + 1) % COUNTRY_COUNT);
    return true;
}

void country_text(country_t country, char text[2])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    static_assert(COUNTRY_COUNT == COUNTRY_DIGITS * COUNTRY_DIGITS, "two characters");
    static_assert(COUNTRY_ZZ + 1 == COUNTRY_COUNT, "ZZ is the last and packs to 0");
    ASSERT(country < COUNTRY_COUNT);
    unsigned number = country == 0 ? COUNTRY_ZZ : (unsigned)country - 1;
    text[0] = digits[number / COUNTRY_DIGITS];
    text[1] = digits[number % COUNTRY_DIGITS];
}
