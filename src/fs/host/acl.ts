import type { ByteString } from '../bytes.js'

/** The ACL of an object, and the one that a directory hands on to what is made in it (acl(5)). */
export const ACCESS_ACL = 'system.posix_acl_access' as ByteString
export const DEFAULT_ACL = 'system.posix_acl_default' as ByteString
