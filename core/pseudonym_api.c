/* pseudonym_api.c - aw_pseudonym(). SPDX-License-Identifier: Apache-2.0 */
#include "config.h"

#include "audit/audit.h"

#include "base/base.h"
#include "base/diag.h"
#include "privacy.h"

#include <unistd.h>

/* Of the configuration, of which no plugin is loaded and no other secret is read. */
static int configured_key(const char *config_path, struct pseudonym_key *ret)
{
    struct settings *settings;
    int rc = settings_load(config_path, NULL, &settings);
    if (!settings)
        return rc ? rc : AW_ERR_CONFIG;
    if (rc == 0 && !settings->pseudonym_key)
        rc = diag_problem(AW_ERR_CONFIG, settings->source,
                          "pseudonym_key is not set: there is no key to make a pseudonym with");
    if (rc == 0)
        rc = privacy_key_load(settings->pseudonym_key, settings->pseudonym_key_where, settings->base_dir,
                              "pseudonym_key", ret);
    settings_destroy(settings);
    return rc;
}

int aw_pseudonym(const char *config_path, const char *key_text, const char *value, size_t len, char *buffer,
                 size_t size)
{
    struct pseudonym_key key;
    struct hash_sha256 *sha = NULL;
    diag_reset();
    if ((!value && len > 0) || !buffer || size < PSEUDONYM_LEN + 1)
        return diag_problem(AW_ERR_USAGE, "", "aw_pseudonym needs a value and a buffer of AW_PSEUDONYM_SIZE bytes");
    AW_AUTOFREE char *cwd = getcwd(NULL, 0);
    int rc = key_text ? privacy_key_load(key_text, "", cwd, "key", &key) : configured_key(config_path, &key);
    if (rc != 0)
        return rc;
    bool good = hash_sha256_create(&sha) == 0 && pseudonym_make(&key, sha, value ? value : "", len, buffer);
    hash_sha256_destroy(sha);
    pseudonym_key_clear(&key);
    if (!good)
        return diag_problem(AW_ERR_IO, "", "the crypto library refuses SHA-256, or there is no memory");
    buffer[PSEUDONYM_LEN] = '\0';
    return AW_SUCCESS;
}
