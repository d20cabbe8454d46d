//! Which key a bucket gets, of those that are asked for, registered and named.

use crate::value::names::{BucketName, KeyAlias, KeyArn};

/// What the request and the registry say of the key.
#[derive(Debug)]
pub struct WantedKey {
    pub asked: Option<KeyArn>,
    pub asked_alias: Option<KeyAlias>,
    pub registered: Option<RegisteredKey>,
    /// The alias of a bucket that is not registered and for which none is asked.
    pub default_alias: KeyAlias,
}

/// The key of a bucket that is registered, and its alias, if it has one.
#[derive(Debug)]
pub struct RegisteredKey {
    pub arn: KeyArn,
    pub alias: Option<KeyAlias>,
}

/// Which key it is to be.
#[derive(Debug, PartialEq)]
pub enum Choice {
    Known {
        arn: KeyArn,
        alias: Option<KeyAlias>,
    },
    /// The alias is nobody's yet: a key is to be created for it.
    New {
        alias: KeyAlias,
    },
}

impl WantedKey {
    /// The alias to look up: request over registry over default. `None`: the bucket is registered without one.
    pub fn alias(&self) -> Option<&KeyAlias> {
        match (&self.asked_alias, &self.registered) {
            (Some(alias), _) => Some(alias),
            (None, Some(registered)) => registered.alias.as_ref(),
            (None, None) => Some(&self.default_alias),
        }
    }

    /// What to call it before it is known.
    pub fn label(&self) -> String {
        let registered = || self.registered.as_ref().map(|it| it.arn.to_string());
        let alias = || self.alias().map(ToString::to_string);
        format!(
            "key {}",
            self.asked.as_ref().map(ToString::to_string).or_else(alias).or_else(registered).unwrap_or_default()
        )
    }

    /// Which key it is to be, now that it is known where the alias points. An error says why it is not clear, and which
    /// field of the request makes it clear: a registered key is exchanged only for one that somebody asks for.
    pub fn choose(&self, bucket: &BucketName, points_at: Option<&KeyArn>) -> Result<Choice, String> {
        let Self { asked, asked_alias, registered, default_alias } = self;
        let registered_arn = registered.as_ref().map(|it| &it.arn);
        let registered_alias = registered.as_ref().and_then(|it| it.alias.as_ref());
        let alias = self.alias();
        if let Some(arn) = asked {
            let kept = match points_at {
                Some(other) if other != arn => match asked_alias {
                    Some(alias) => {
                        return Err(format!(
                            "{alias} points at {other}, and `key` is {arn}; name one of them, or another alias"
                        ));
                    }
                    // It is the name of another key, and stays that.
                    None => None,
                },
                Some(_) => alias,
                None => alias.filter(|_| asked_alias.is_some() || registered_arn == Some(arn)),
            };
            return Ok(Choice::Known { arn: arn.clone(), alias: kept.cloned() });
        }
        match (registered_arn, points_at) {
            // No other alias than the registered one is named, so no other key is asked for.
            (Some(arn), points_at) if asked_alias.is_none() || asked_alias.as_ref() == registered_alias => {
                match (points_at, alias) {
                    (Some(other), Some(alias)) if other != arn => Err(format!(
                        "{alias} points at {other}, and {bucket} is registered with {arn}. To move the bucket to the key \
                         that it points at now, give `key`: \"{other}\"; to let it point at the registered key again, \
                         `guardrail reconcile {bucket}`"
                    )),
                    _ => Ok(Choice::Known { arn: arn.clone(), alias: alias.cloned() }),
                }
            }
            (_, Some(arn)) => Ok(Choice::Known { arn: arn.clone(), alias: alias.cloned() }),
            (_, None) => Ok(Choice::New { alias: alias.unwrap_or(default_alias).clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "arn:aws:kms:eu-west-2:111122223333:key/one";
    const TWO: &str = "arn:aws:kms:eu-west-2:111122223333:key/two";

    fn key(arn: &str) -> KeyArn {
        arn.parse().unwrap()
    }

    fn alias(name: &str) -> KeyAlias {
        format!("alias/{name}").parse().unwrap()
    }

    /// What is chosen, as `ARN ALIAS`; an error's text.
    fn choose(
        asked: Option<&str>,
        asked_alias: Option<&str>,
        registered: Option<(&str, Option<&str>)>,
        points_at: Option<&str>,
    ) -> Result<String, String> {
        let registered = registered.map(|(arn, name)| RegisteredKey { arn: key(arn), alias: name.map(alias) });
        let (asked, asked_alias) = (asked.map(key), asked_alias.map(alias));
        let wanted = WantedKey { asked, asked_alias, registered, default_alias: alias("default") };
        let choice = wanted.choose(&"acme-data".parse().unwrap(), points_at.map(key).as_ref())?;
        Ok(match choice {
            Choice::Known { arn, alias } => format!("{arn} {}", alias.map_or("-".to_owned(), |it| it.to_string())),
            Choice::New { alias } => format!("new {alias}"),
        })
    }

    #[test]
    fn a_registered_key_is_exchanged_only_for_one_that_is_asked_for() {
        let named = Some((ONE, Some("a")));
        let unnamed = Some((ONE, None));
        for (asked, asked_alias, registered, points_at, chosen) in [
            // Not registered: what the alias says.
            (None, None, None, None, "new alias/default".to_owned()),
            (None, None, None, Some(TWO), format!("{TWO} alias/default")),
            (None, Some("b"), None, None, "new alias/b".to_owned()),
            (Some(ONE), None, None, Some(ONE), format!("{ONE} alias/default")),
            (Some(ONE), None, None, Some(TWO), format!("{ONE} -")),
            (Some(ONE), None, None, None, format!("{ONE} -")),
            (Some(ONE), Some("b"), None, None, format!("{ONE} alias/b")),
            // Registered, and nothing else is asked for.
            (None, None, named, Some(ONE), format!("{ONE} alias/a")),
            (None, None, named, None, format!("{ONE} alias/a")),
            (None, Some("a"), named, None, format!("{ONE} alias/a")),
            (None, None, unnamed, None, format!("{ONE} -")),
            // Another one is asked for.
            (None, Some("b"), named, Some(TWO), format!("{TWO} alias/b")),
            (None, Some("b"), named, Some(ONE), format!("{ONE} alias/b")),
            (None, Some("b"), named, None, "new alias/b".to_owned()),
            (Some(TWO), None, named, Some(TWO), format!("{TWO} alias/a")),
            (Some(TWO), None, named, Some(ONE), format!("{TWO} -")),
            (Some(ONE), None, named, None, format!("{ONE} alias/a")),
        ] {
            let case = format!("{asked:?} {asked_alias:?} {registered:?} {points_at:?}");
            assert_eq!(choose(asked, asked_alias, registered, points_at), Ok(chosen), "{case}");
        }
        for asked_alias in [None, Some("a")] {
            let error = choose(None, asked_alias, named, Some(TWO)).unwrap_err();
            assert!(error.contains(ONE) && error.contains(TWO) && error.contains("`key`"), "{error}");
        }
        let error = choose(Some(ONE), Some("b"), named, Some(TWO)).unwrap_err();
        assert!(error.contains("alias/b points at"), "{error}");
    }

    #[test]
    fn a_key_is_called_by_what_is_known_of_it() {
        let label = |asked: Option<&str>, asked_alias: Option<&str>, registered: Option<Option<&str>>| {
            let registered = registered.map(|name| RegisteredKey { arn: key(TWO), alias: name.map(alias) });
            let asked_alias = asked_alias.map(alias);
            WantedKey { asked: asked.map(key), asked_alias, registered, default_alias: alias("default") }.label()
        };
        assert_eq!(label(Some(ONE), Some("a"), None), format!("key {ONE}"));
        assert_eq!(label(None, Some("a"), Some(Some("b"))), "key alias/a");
        assert_eq!(label(None, None, Some(Some("b"))), "key alias/b");
        assert_eq!(label(None, None, Some(None)), format!("key {TWO}"));
        assert_eq!(label(None, None, None), "key alias/default");
    }
}
