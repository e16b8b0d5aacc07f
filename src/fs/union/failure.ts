import { systemError } from '../../sys/errno.js'
import { bytesToText, type ByteString } from '../bytes.js'

/** An error that a union detects without calling the host, in the shape of a host error. Paths are inside the union. */
export function failure(code: string, syscall: string, path: ByteString): NodeJS.ErrnoException {
  return systemError(code, syscall, `/${bytesToText(path)}`)
}
