import type { ByteString } from '../bytes.js'

/** Names of the xattrs with an object's ACL, and with the ACL that a directory passes on to new entries (acl(5)). */
export const ACCESS_ACL = 'system.posix_acl_access' as ByteString
export const DEFAULT_ACL = 'system.posix_acl_default' as ByteString
