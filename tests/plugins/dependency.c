/* dependency.c - the library that sink_m_needslib.so needs, under a name that is not installed.
 * SPDX-License-Identifier: Apache-2.0 */
extern int mock_dependency(void);
int mock_dependency(void)
{
    return 42;
}
