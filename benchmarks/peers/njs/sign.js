// RFC 5849 for nginx: signs with crypto.subtle, then goes on to the location that forwards.
// `setting` is read once, by js_preload_object; this file's code runs for every request anew.
const der = Buffer.from(setting.private_key, 'base64');
const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-1' };

function encode(text) {
    return encodeURIComponent(text).replace(/[!'()*]/g,
        (c) => '%' + c.charCodeAt(0).toString(16).toUpperCase());
}

function decode(text) {
    return decodeURIComponent(text.replace(/\+/g, ' '));
}

function query(target) {
    const at = target.indexOf('?');
    return at < 0 ? [] : target.slice(at + 1).split('&').filter((pair) => pair).map((pair) => {
        const equals = pair.indexOf('=');
        return equals < 0
            ? [encode(decode(pair)), '']
            : [encode(decode(pair.slice(0, equals))), encode(decode(pair.slice(equals + 1)))];
    });
}

async function forward(r) {
    const target = r.variables.request_uri;
    const nonce = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString('hex');
    const oauth = [
        ['oauth_consumer_key', encode(setting.consumer_key)],
        ['oauth_nonce', nonce],
        ['oauth_signature_method', 'RSA-SHA1'],
        ['oauth_timestamp', String(Math.floor(Date.now() / 1000))],
        ['oauth_token', encode(setting.token)],
        ['oauth_version', '1.0'],
    ];
    const normalized = query(target).concat(oauth).map((pair) => pair.join('='));
    normalized.sort();
    const base = [r.method, setting.upstream + target.split('?')[0], normalized.join('&')]
        .map(encode).join('&');
    const key = await crypto.subtle.importKey('pkcs8', der, algorithm, false, ['sign']);
    const signature = await crypto.subtle.sign(algorithm, key, base);
    oauth.push(['oauth_signature', encode(Buffer.from(signature).toString('base64'))]);
    r.variables.signature = 'OAuth ' + oauth.map((p) => p[0] + '="' + p[1] + '"').join(', ');
    r.internalRedirect('@signed');
}

export default { forward };
