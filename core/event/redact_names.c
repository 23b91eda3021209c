/* redact_names.c - the built-in list of names that hold secrets. SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "event/policy.h"

enum reach {
    WHOLE, /* only as the whole name */
    WORD,  /* also as the last words of a name */
    TAIL   /* also as the end of a name without a border before it */
};

/* In normal form. Left out on purpose: names that events need or that hold no secret (sessionId, keyId, tokenType,
 * auth). */
static const struct {
    const char *name;
    enum reach reach;
} names[] = {
    {"password", TAIL},
    {"passwords", TAIL},
    {"passwd", TAIL},
    {"passphrase", TAIL},
    {"passcode", TAIL},
    {"passwordhash", TAIL},
    {"passwordsalt", TAIL},
    {"passwordconfirmation", TAIL},
    {"passwordconfirm", TAIL},
    {"pwd", WORD},
    {"pass", WHOLE},
    {"passwort", TAIL},
    {"secret", WORD},
    {"secrets", WORD},
    {"clientsecret", TAIL},
    {"secretkey", TAIL},
    {"sharedsecret", TAIL},
    {"appsecret", TAIL},
    {"webhooksecret", TAIL},
    {"secretaccesskey", TAIL},
    {"secretvalue", WORD},
    {"secrettoken", TAIL},
    {"token", WORD},
    {"tokens", WHOLE},
    {"accesstoken", TAIL},
    {"refreshtoken", TAIL},
    {"idtoken", WORD},
    {"authtoken", TAIL},
    {"sessiontoken", TAIL},
    {"bearertoken", TAIL},
    {"apitoken", TAIL},
    {"csrftoken", TAIL},
    {"xsrftoken", TAIL},
    {"securitytoken", TAIL},
    {"jwt", WORD},
    {"bearer", WHOLE},
    {"apikey", TAIL},
    {"apikeys", TAIL},
    {"accesskey", TAIL},
    {"privatekey", TAIL},
    {"encryptionkey", TAIL},
    {"signingkey", TAIL},
    {"masterkey", TAIL},
    {"accountkey", TAIL},
    {"storagekey", TAIL},
    {"hmackey", WORD},
    {"sshkey", WORD},
    {"pgpkey", WORD},
    {"licensekey", TAIL},
    {"authorization", WORD},
    {"proxyauthorization", WORD},
    {"xauthtoken", WORD},
    {"wwwauthenticate", WORD},
    {"cookie", WORD},
    {"cookies", WORD},
    {"setcookie", WORD},
    {"credential", WORD},
    {"credentials", WORD},
    {"connectionstring", TAIL},
    {"dsn", WHOLE},
    {"ssn", WORD},
    {"socialsecuritynumber", TAIL},
    {"socialsecurity", WORD},
    {"taxid", WORD},
    {"cardnumber", TAIL},
    {"creditcard", WORD},
    {"creditcardnumber", TAIL},
    {"ccnumber", WORD},
    {"pan", WHOLE},
    {"cvv", WORD},
    {"cvv2", WORD},
    {"cvc", WORD},
    {"cvc2", WORD},
    {"csc", WHOLE},
    {"securitycode", WORD},
    {"pin", WORD},
    {"pincode", WORD},
    {"otp", WORD},
    {"totp", WORD},
    {"onetimepassword", TAIL},
    {"onetimecode", WORD},
    {"mfacode", WORD},
    {"totpsecret", TAIL},
    {"recoverycode", WORD},
    {"recoverycodes", WORD},
    {"backupcodes", WORD},
    {"mnemonic", WHOLE},
    {"seedphrase", WORD},
};

static bool is_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* Does a new word begin at raw[i]? Humps: fooBar, and the B of HTTPBar. */
static bool word_begins(const char *raw, size_t len, size_t i)
{
    if (i == 0 || (!is_lower(raw[i - 1]) && !is_upper(raw[i - 1])))
        return true;
    return is_upper(raw[i]) && (is_lower(raw[i - 1]) || (i + 1 < len && is_lower(raw[i + 1])));
}

/* Compares the end of raw (letters and digits only) with name; *ret_start: where the match begins. */
static bool ends_with(const char *raw, size_t len, const char *name, size_t name_len, size_t *ret_start)
{
    size_t i = len;
    while (name_len > 0) {
        if (i == 0)
            return false;
        char c = raw[--i];
        if (is_upper(c))
            c = (char)(c + 32);
        if (!is_lower(c) && (unsigned char)c < 0x80)
            continue; /* a separator */
        if (c != name[--name_len])
            return false;
    }
    *ret_start = i;
    return true;
}

static bool nothing_before(const char *raw, size_t start)
{
    for (size_t i = 0; i < start; i++) {
        if (is_lower(raw[i]) || is_upper(raw[i]) || (unsigned char)raw[i] >= 0x80)
            return false;
    }
    return true;
}

static bool matches(const char *raw, size_t len)
{
    for (size_t i = 0; i < AW_ARRAY_LEN(names); i++) {
        size_t start;
        if (!ends_with(raw, len, names[i].name, strlen(names[i].name), &start))
            continue;
        if (names[i].reach == TAIL || nothing_before(raw, start) ||
            (names[i].reach == WORD && word_begins(raw, len, start)))
            return true;
    }
    return false;
}

bool built_in_name(const char *raw, size_t len)
{
    if (matches(raw, len))
        return true;
    size_t cut = len; /* password2, token_1 */
    while (cut > 0 && ((raw[cut - 1] >= '0' && raw[cut - 1] <= '9') || raw[cut - 1] == '_' || raw[cut - 1] == '-'))
        cut--;
    return cut < len && cut > 0 && matches(raw, cut);
}
